"""SqueezeNet. Counts as torchvision publishes them."""

from cnnjax.models.squeezenet import SqueezeNet


NUM_PARAMS = {"squeezenet1_0": 1_248_424, "squeezenet1_1": 1_235_496}


def tiny(**options):
    return SqueezeNet(
        stem_features=8,
        stem_kernel_size=3,
        depths=(1, 1, 1),
        dims=(16, 16, 32),
        num_classes=10,
        image_size=33,
        **options,
    )


TINY = {"plain": tiny(), "bn": tiny(batch_norm=True)}
# Without padding, no endpoint has ceil(image / stride) rows; see test_squeezenet.py.
STRIDES = {}
