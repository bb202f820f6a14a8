"""ResNets for small images."""


def pytorchcv(model):
    unit = "features.stage{s}.unit{b}"
    return {
        "stem": "features.init_block.conv",
        "stem_norm": "features.init_block.bn",
        "stage{s}_block{b}/Conv_{i}": unit + ".body.conv{i:+1}.conv",
        "stage{s}_block{b}/BatchNorm_{i}": unit + ".body.conv{i:+1}.bn",
        "stage{s}_block{b}/conv_proj": unit + ".identity_conv.conv",
        "stage{s}_block{b}/norm_proj": unit + ".identity_conv.bn",
        "head": "output",
    }


SOURCES = (pytorchcv,)
