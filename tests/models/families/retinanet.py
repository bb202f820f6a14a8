"""RetinaNets. Counts as torchvision publishes them; others by hand from ResNets'."""

import functools

from cnnjax.detection import RetinaNet, Selection
from cnnjax.models.resnet import BasicBlock, ResNet
from families.resnet import NUM_PARAMS as RESNETS


RESNET = functools.partial(ResNet, depths=(1, 1, 1, 1), block=BasicBlock)
# Scales and biases of the norms of ResNet-50, which are no parameters of torchvision's.
NORMS_50 = 2 * 26_560


def maps(width, features):
    """The convolutions of a pyramid on the maps of strides 8 to 32."""
    return sum(width * 2**k + 1 for k in range(3)) * features


def without_head(name):
    return RESNETS[name] - (2049 if name != "resnet18" else 513) * 1000


def heads(features, count):
    towers = 8 * (9 * features + 1) * features
    return towers + (9 * features + 1) * 9 * (count + 4)


def pyramid(width, features, coarser=2):
    return maps(width, features) + (3 + coarser) * (9 * features + 1) * features


NUM_PARAMS = {
    "retinanet_resnet50_fpn": 34_014_999 + NORMS_50,
    "retinanet_resnet101_fpn": without_head("resnet101")
    + pyramid(512, 256)
    + heads(256, 91),
    "retinanet_resnet18_fpn": without_head("resnet18")
    + pyramid(128, 256)
    + heads(256, 91),
    "retinanet_resnet18_fpn_small": without_head("resnet18")
    + pyramid(128, 64, coarser=0)
    + heads(64, 91),
}
SMALL = Selection(candidates=20, max_detections=10)
TINY = {
    "resnet": RetinaNet(
        classifier=RESNET,
        num_classes=4,
        image_size=64,
        features=8,
        anchor_sizes=(16, 32, 64, 128, 256),
        selection=SMALL,
    ),
}
