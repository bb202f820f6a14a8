"""FCNs on VGG. Counts by hand from VGG's, whose dense layers they keep."""

import functools

from cnnjax.models.vgg import VGG
from cnnjax.segmentation import FCN
from families.vgg import NUM_PARAMS as VGGS


# Another head; then transposed convolutions from 21 classes to 21.
ALL = VGGS["vgg16"] + (4096 + 1) * (21 - 1000)
NUM_PARAMS = {
    "fcn32s_vgg16": ALL + (64 * 64) * 21 * 21,
    "fcn16s_vgg16": ALL + (32 * 32 + 4 * 4) * 21 * 21 + 513 * 21,
    "fcn8s_vgg16": ALL + (16 * 16 + 2 * 4 * 4) * 21 * 21 + 513 * 21 + 257 * 21,
}


def tiny(finest_stride):
    return FCN(
        classifier=functools.partial(
            VGG, depths=(1, 1, 1, 1, 1), dims=(8, 8, 8, 8, 8), hidden_features=0
        ),
        finest_stride=finest_stride,
        hidden_features=16,
        num_classes=5,
        image_size=64,
    )


TINY = {"32s": tiny(32), "8s": tiny(8)}
STRIDES = {"stem": 1} | {f"stage{i}": 2**i for i in range(1, 6)}
STRIDES |= {"scores32": 32, "pre_logits": 32, "logits": 1}
