"""FitNets. Count by hand; the paper says 2.5 million."""

from cnnjax.models.fitnet import FitNet


def _conv(inputs, outputs):
    """A 3x3 maxout convolution of two maps."""
    return 2 * (9 * inputs * outputs + outputs)


NUM_PARAMS = {
    "fitnet19_cifar": _conv(3, 32)
    + 2 * _conv(32, 32)
    + _conv(32, 48)
    + _conv(48, 48)
    + _conv(48, 80)
    + 5 * _conv(80, 80)
    + _conv(80, 128)
    + 5 * _conv(128, 128)
    + 2 * (128 * 500 + 500)
    + (500 * 10 + 10)
}
TINY = {
    "dropout": FitNet(
        dims=((8, 8), (8,), (8,)), hidden_features=16, dropout_rate=0.5, image_size=8
    )
}
STRIDES = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4}
