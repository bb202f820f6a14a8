"""DenseNets, as torchvision (and timm) and pytorchcv call them.

The weights that torchvision publishes have older names than its model.
"""

TORCHVISION_LAYER = "features.denseblock{s}.denselayer{b}"
TORCHVISION = {
    "stem": "features.conv0",
    "stem_norm": "features.norm0",
    "transition{s}/BatchNorm_0": "features.transition{s}.norm",
    "transition{s}/Conv_0": "features.transition{s}.conv",
    "final_norm": "features.norm5",
    "head": "classifier",
    "stage{s}_block{b}/bottleneck/BatchNorm_0": TORCHVISION_LAYER + ".norm1",
    "stage{s}_block{b}/bottleneck/Conv_0": TORCHVISION_LAYER + ".conv1",
    "stage{s}_block{b}/growth/BatchNorm_0": TORCHVISION_LAYER + ".norm2",
    "stage{s}_block{b}/growth/Conv_0": TORCHVISION_LAYER + ".conv2",
}
PUBLISHED = TORCHVISION | {
    "stage{s}_block{b}/bottleneck/BatchNorm_0": TORCHVISION_LAYER + ".norm.1",
    "stage{s}_block{b}/bottleneck/Conv_0": TORCHVISION_LAYER + ".conv.1",
    "stage{s}_block{b}/growth/BatchNorm_0": TORCHVISION_LAYER + ".norm.2",
    "stage{s}_block{b}/growth/Conv_0": TORCHVISION_LAYER + ".conv.2",
}


def pytorchcv(model):
    stem = "features.init_block"
    transition = "features.stage{s:+1}.trans{s:+1}.conv"
    layer = "features.stage{s}.unit{b}"
    last = ".conv" if model.bottleneck is None else ".conv2"
    return {
        "stem": stem if model.small_images else stem + ".conv",
        "stem_norm": stem + ".bn",
        "stage{s}_block{b}/bottleneck/BatchNorm_0": layer + ".conv1.bn",
        "stage{s}_block{b}/bottleneck/Conv_0": layer + ".conv1.conv",
        "stage{s}_block{b}/growth/BatchNorm_0": layer + last + ".bn",
        "stage{s}_block{b}/growth/Conv_0": layer + last + ".conv",
        "transition{s}/BatchNorm_0": transition + ".bn",
        "transition{s}/Conv_0": transition + ".conv",
        "final_norm": "features.post_activ.bn",
        "head": "output",
    }


SOURCES = [
    lambda model: pytorchcv(model) if model.small_images else TORCHVISION,
    lambda model: PUBLISHED,
    pytorchcv,
]
