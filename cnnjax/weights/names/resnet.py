"""ResNets for large images: torchvision's names are everybody's."""


def torchvision(model):
    return {
        "stem": "conv1",
        "stem_norm": "bn1",
        "stage{s}_block{b}/Conv_{i}": "layer{s}.{b:-1}.conv{i:+1}",
        "stage{s}_block{b}/BatchNorm_{i}": "layer{s}.{b:-1}.bn{i:+1}",
        "stage{s}_block{b}/conv_proj": "layer{s}.{b:-1}.downsample.0",
        "stage{s}_block{b}/norm_proj": "layer{s}.{b:-1}.downsample.1",
        "stage{s}_block{b}/DeformConv_0": "layer{s}.{b:-1}.conv2",
        "stage{s}_block{b}/DeformConv_0/offset": "layer{s}.{b:-1}.conv2_offset",
        "head": "fc",
    }


SOURCES = (torchvision,)
