"""Wide ResNets for small images, as pytorchcv calls them."""

BLOCK = "features.stage{s}.unit{b}"
NAMES = {
    "stem": "features.init_block",
    "stage{s}_block{b}/BatchNorm_{i}": BLOCK + ".body.conv{i:+1}.bn",
    "stage{s}_block{b}/Conv_{i}": BLOCK + ".body.conv{i:+1}.conv",
    "stage{s}_block{b}/conv_proj": BLOCK + ".identity_conv",
    "final_norm": "features.post_activ.bn",
    "head": "output",
}
SOURCES = [lambda model: NAMES]
