"""Mask R-CNNs. Counts as torchvision publishes them; others by hand."""

from cnnjax.detection import MaskRCNN
from families.faster_rcnn import NUM_PARAMS as FASTER_RCNNS
from families.faster_rcnn import OPTIONS
from families.retinanet import NORMS_50


def head(features, classes=91):
    """Four 3x3 convolutions, a transposed 2x2 one, a 1x1."""
    convs = 4 * (9 * features + 1) * features + (4 * features + 1) * features
    return convs + (features + 1) * classes


NUM_PARAMS = {
    name.replace("faster", "mask"): count + head(64 if "small" in name else 256)
    for name, count in FASTER_RCNNS.items()
} | {"maskrcnn_resnet50_fpn": 44_401_393 + NORMS_50}
TINY = {"resnet": MaskRCNN(**OPTIONS)}
