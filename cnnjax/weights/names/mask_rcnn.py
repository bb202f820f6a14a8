"""Mask R-CNN, as torchvision calls it."""

from cnnjax.weights._names import Name
from cnnjax.weights.names import faster_rcnn


NAMES = faster_rcnn.NAMES | {
    "mask_head/Conv_{k}": "roi_heads.mask_head.{k}.0",
    "mask_head/up/kernel": Name(
        "roi_heads.mask_predictor.conv5_mask.weight", transposed=True
    ),
    "mask_head/up": "roi_heads.mask_predictor.conv5_mask",
    "mask_head/logits": "roi_heads.mask_predictor.mask_fcn_logits",
}
SOURCES = [lambda model: NAMES]
