"""ResNets for small images, as pytorchcv calls them."""

BLOCK = "features.stage{s}.unit{b}"
NAMES = {
    "stem": "features.init_block.conv",
    "stem_norm": "features.init_block.bn",
    "stage{s}_block{b}/Conv_{i}": BLOCK + ".body.conv{i:+1}.conv",
    "stage{s}_block{b}/BatchNorm_{i}": BLOCK + ".body.conv{i:+1}.bn",
    "stage{s}_block{b}/conv_proj": BLOCK + ".identity_conv.conv",
    "stage{s}_block{b}/norm_proj": BLOCK + ".identity_conv.bn",
    "head": "output",
}
SOURCES = [lambda model: NAMES]
