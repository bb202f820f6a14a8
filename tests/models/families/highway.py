"""Highway networks. Counts by hand; the paper says 2.3 and 1.25 million."""

from cnnjax.models.highway import Highway


def _conv(inputs, outputs):
    return 9 * inputs * outputs + outputs


def _num_params(depths, dims):
    """Plain convolutions between stages, two for each layer with a gate, the head."""
    plain = sum(map(_conv, (3, *dims[:-1]), dims))
    gated = sum((n - 1) * 2 * _conv(c, c) for n, c in zip(depths, dims, strict=True))
    return plain + gated + (dims[-1] * 100 + 100) + (100 * 10 + 10)


NUM_PARAMS = {
    "highway19_cifar": _num_params((5, 6, 6), (32, 80, 128)),
    "highway32_cifar": _num_params((10, 10, 10), (32, 48, 64)),
}
TINY = {
    "small": Highway(depths=(2, 2, 2), dims=(8, 8, 8), hidden_features=8, image_size=8)
}
STRIDES = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4}
