"""ResNets. Counts as torchvision publishes them; plain ones by hand."""

import functools

from cnnjax.models.resnet import BasicBlock, Bottleneck, ResNet


NUM_PARAMS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
    # Without projections: 64 -> 128 -> 256 -> 512 and two values per norm's channel.
    "plain18": 11_689_512 - (64 * 128 + 128 * 256 + 256 * 512) - 2 * (128 + 256 + 512),
    "plain34": 21_797_672 - (64 * 128 + 128 * 256 + 256 * 512) - 2 * (128 + 256 + 512),
}


def tiny(block, **options):
    return ResNet(
        depths=(1, 1, 1, 1), block=block, num_classes=10, image_size=64, **options
    )


TINY = {
    "basic": tiny(BasicBlock),
    "plain": tiny(functools.partial(BasicBlock, shortcut=False)),
    "bottleneck": tiny(functools.partial(Bottleneck, groups=2, width=32)),
    "deformable": tiny(Bottleneck, deformable_blocks=2),
}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 16, "stage4": 32}
