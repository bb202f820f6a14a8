"""VGG. Counts as torchvision publishes them."""

from cnnjax.models.vgg import VGG


NUM_PARAMS = {
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
}


def tiny(**options):
    return VGG(
        depths=(1, 1, 2, 1, 1),
        dims=(8, 8, 8, 8, 8),
        hidden_features=16,
        num_classes=10,
        image_size=32,
        **options,
    )


TINY = {"plain": tiny(), "bn": tiny(batch_norm=True)}
STRIDES = {"stem": 1} | {f"stage{i}": 2**i for i in range(1, 6)}
