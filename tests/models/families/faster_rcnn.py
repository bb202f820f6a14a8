"""Faster R-CNNs. Counts as torchvision publishes them; others by hand."""

from cnnjax.detection import FasterRCNN
from families.retinanet import NORMS_50, RESNET, SMALL, without_head


def rest(width, features, classes=91):
    """The pyramid on maps of strides 4 to 32, the head of proposals, that of boxes."""
    laterals = sum(width * 2**k + 1 for k in range(4)) * features
    smooth = 5 * (9 * features + 1) * features  # And the 3x3 of the proposals'.
    proposals = (features + 1) * 3 * 5
    hidden = 4 * features
    dense = (49 * features + 1) * hidden + (hidden + 1) * hidden
    return laterals + smooth + proposals + dense + (hidden + 1) * 5 * classes


NUM_PARAMS = {
    "fasterrcnn_resnet50_fpn": 41_755_286 + NORMS_50,
    "fasterrcnn_resnet101_fpn": without_head("resnet101") + rest(256, 256),
    "fasterrcnn_resnet18_fpn": without_head("resnet18") + rest(64, 256),
    "fasterrcnn_resnet18_fpn_small": without_head("resnet18") + rest(64, 64),
}
OPTIONS = {
    "classifier": RESNET,
    "num_classes": 4,
    "image_size": 64,
    "features": 8,
    "anchor_sizes": (8, 16, 32, 64, 128),
    "samples": 16,
    "selection": SMALL,
}
TINY = {"resnet": FasterRCNN(**OPTIONS)}
