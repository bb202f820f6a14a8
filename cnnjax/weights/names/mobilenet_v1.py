"""MobileNets, version 1, as pytorchcv calls them."""

BLOCK = "features.stage{s}.unit{b}"
NAMES = {
    "stem": "features.init_block.conv",
    "stem_norm": "features.init_block.bn",
    "stage{s}_block{b}/depthwise": BLOCK + ".dw_conv.conv",
    "stage{s}_block{b}/depthwise_norm": BLOCK + ".dw_conv.bn",
    "stage{s}_block{b}/pointwise": BLOCK + ".pw_conv.conv",
    "stage{s}_block{b}/pointwise_norm": BLOCK + ".pw_conv.bn",
    "head": "output",
}
SOURCES = [lambda model: NAMES]
