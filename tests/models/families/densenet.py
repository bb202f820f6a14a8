"""DenseNets. Counts of torchvision's and pytorchcv's models."""

import functools

from cnnjax.models.densenet import DenseNet


NUM_PARAMS = {
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet40_k12_cifar": 599_050,
    "densenet40_k24_cifar": 2_366_938,
    "densenet40_k36_cifar": 5_303_674,
    "densenet40_k12_bc_cifar": 176_122,
    "densenet40_k24_bc_cifar": 690_346,
    "densenet40_k36_bc_cifar": 1_542_682,
}
tiny = functools.partial(
    DenseNet,
    depths=(2, 1, 1, 1),
    growth_rate=4,
    dropout_rate=0.2,
    num_classes=10,
    image_size=64,
)
TINY = {
    "bottleneck": tiny(),
    "basic": tiny(bottleneck=None, compression=1.0, stem_features=6, remat=True),
}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32}
