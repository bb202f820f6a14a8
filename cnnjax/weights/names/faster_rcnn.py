"""Faster R-CNN, as torchvision calls it."""

from cnnjax.weights.names import _pyramid


NAMES = _pyramid.NAMES | {
    "rpn/head/conv": "rpn.head.conv.0.0",
    "rpn/head/objectness": "rpn.head.cls_logits",
    "rpn/head/deltas": "rpn.head.bbox_pred",
    "box_head/fc{k}": "roi_heads.box_head.fc{k}",
    "head": "roi_heads.box_predictor.cls_score",
    "deltas": "roi_heads.box_predictor.bbox_pred",
}
SOURCES = [lambda model: NAMES]
