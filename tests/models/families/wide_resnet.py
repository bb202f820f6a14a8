"""Wide ResNets for small images. Counts of pytorchcv's models; rounded, Table 4's."""

from cnnjax.models.wide_resnet import WideResNet


NUM_PARAMS = {
    "wrn_40_1_cifar": 563_930,
    "wrn_40_2_cifar": 2_243_546,
    "wrn_40_4_cifar": 8_949_210,
    "wrn_40_8_cifar": 35_748_314,
    "wrn_28_10_cifar": 36_479_194,
    "wrn_28_12_cifar": 52_517_850,
    "wrn_22_8_cifar": 17_158_106,
    "wrn_22_10_cifar": 26_797_914,
    "wrn_16_8_cifar": 10_961_370,
    "wrn_16_10_cifar": 17_116_634,
}
TINY = {"dropout": WideResNet(depth=10, width=1, dropout_rate=0.3, image_size=8)}
STRIDES = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4}
