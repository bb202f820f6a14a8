"""Dilated FCNs. Counts as torchvision publishes them, less the auxiliary head."""

import functools

from cnnjax.models.resnet import BasicBlock, ResNet
from cnnjax.segmentation import DilatedFCN


# Of what torchvision's own weights have beside the network: a 3x3 convolution to 256
# channels, its norm, and a head.
AUXILIARY = 9 * 1024 * 256 + 2 * 256 + 257 * 21
NUM_PARAMS = {
    "fcn_resnet50": 35_322_218 - AUXILIARY,
    "fcn_resnet101": 54_314_346 - AUXILIARY,
}


RESNET = functools.partial(ResNet, depths=(1, 1, 1), block=BasicBlock)
TINY = {
    "deformable": DilatedFCN(
        classifier=RESNET, deformable_blocks=1, num_classes=5, image_size=32
    ),
}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 8}
STRIDES |= {"pre_logits": 8, "logits": 1}
