"""CIFAR ResNets. Counts by hand; those of the golden files agree."""

from cnnjax.models.resnet_cifar import CifarResNet


# 3x3 convolutions of 16, 32 and 64 channels with their norms, the stem, the head.
NUM_PARAMS = {
    "resnet20_cifar": 272_474,
    "resnet32_cifar": 466_906,
    "resnet44_cifar": 661_338,
    "resnet56_cifar": 855_770,
    "resnet110_cifar": 1_730_714,
    "resnet1202_cifar": 19_424_026,
    "plain20_cifar": 269_722,
    "plain32_cifar": 464_154,
    "plain44_cifar": 658_586,
    "plain56_cifar": 853_018,
    "plain110_cifar": 1_727_962,
    "plain1202_cifar": 19_421_274,
}
TINY = {
    shortcut: CifarResNet(depths=(1, 1, 1), shortcut=shortcut, image_size=8)
    for shortcut in ("projection", "pad", "none")
}
STRIDES = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4}
