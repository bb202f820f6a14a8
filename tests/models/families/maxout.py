"""Maxout networks. Count by hand."""

from cnnjax.models.maxout import MaxoutNet


def _layer(inputs, outputs):
    return inputs * outputs + outputs


# Twice (dense: five times) the channels before the maximum. The maps have 32 rows, then
# 33 pooled to 16, 15 pooled to 7, 9 pooled to 5.
NUM_PARAMS = {
    "maxout_cifar": _layer(3 * 8 * 8, 2 * 96)
    + _layer(96 * 8 * 8, 2 * 192)
    + _layer(192 * 5 * 5, 2 * 192)
    + _layer(192 * 5 * 5, 5 * 500)
    + _layer(500, 10)
}
TINY = {"small": MaxoutNet(dims=(8, 8, 8), hidden_features=16, image_size=32)}
STRIDES = {"stem": 1, "stage1": 2}  # The others in test_maxout.py.
