"""RetinaNet, as torchvision calls it."""

from cnnjax.weights.names import _pyramid


NAMES = (
    _pyramid.NAMES
    | _pyramid.EXTRA
    | {
        "class_tower/Conv_{i}": "head.classification_head.conv.{i}.0",
        "head": "head.classification_head.cls_logits",
        "box_tower/Conv_{i}": "head.regression_head.conv.{i}.0",
        "box_head": "head.regression_head.bbox_reg",
    }
)
SOURCES = [lambda model: NAMES]
