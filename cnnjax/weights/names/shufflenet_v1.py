"""ShuffleNets, version 1, as pytorchcv calls them (which has none with excitation)."""

BLOCK = "features.stage{s}.unit{b}"
NAMES = {
    "stem": "features.init_block.conv",
    "stem_norm": "features.init_block.bn",
    "stage{s}_block{b}/reduce": BLOCK + ".compress_conv1",
    "stage{s}_block{b}/reduce_norm": BLOCK + ".compress_bn1",
    "stage{s}_block{b}/depthwise": BLOCK + ".dw_conv2",
    "stage{s}_block{b}/depthwise_norm": BLOCK + ".dw_bn2",
    "stage{s}_block{b}/expand": BLOCK + ".expand_conv3",
    "stage{s}_block{b}/expand_norm": BLOCK + ".expand_bn3",
    "head": "output",
}
SOURCES = [lambda model: NAMES]
