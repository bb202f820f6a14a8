"""EfficientNets, as torchvision and timm call them."""

from cnnjax.weights.names._inverted_residual import TIMM


FIRST = "features.1.{b:-1}.block"
BLOCK = "features.{s}.{b:-1}.block"
# What follows the expansion moves up in the first stage, which expands nothing.
NAMES = {
    "stem": "features.0.0",
    "stem_norm": "features.0.1",
    "stage1_block{b}/depthwise": FIRST + ".0.0",
    "stage1_block{b}/depthwise_norm": FIRST + ".0.1",
    "stage1_block{b}/squeeze_excite/reduce": FIRST + ".1.fc1",
    "stage1_block{b}/squeeze_excite/expand": FIRST + ".1.fc2",
    "stage1_block{b}/project": FIRST + ".2.0",
    "stage1_block{b}/project_norm": FIRST + ".2.1",
    "stage{s}_block{b}/expand": BLOCK + ".0.0",
    "stage{s}_block{b}/expand_norm": BLOCK + ".0.1",
    "stage{s}_block{b}/depthwise": BLOCK + ".1.0",
    "stage{s}_block{b}/depthwise_norm": BLOCK + ".1.1",
    "stage{s}_block{b}/squeeze_excite/reduce": BLOCK + ".2.fc1",
    "stage{s}_block{b}/squeeze_excite/expand": BLOCK + ".2.fc2",
    "stage{s}_block{b}/project": BLOCK + ".3.0",
    "stage{s}_block{b}/project_norm": BLOCK + ".3.1",
    "head_conv": "features.8.0",
    "head_norm": "features.8.1",
    "head": "classifier.1",
}
SOURCES = [lambda model: NAMES, lambda model: TIMM]
