"""DSN. Count by hand."""

from cnnjax.models.dsn import DSN


# Network In Network, and classifiers of 192 channels at three sizes of maps.
NUM_PARAMS = {
    "dsn_cifar": 966_986 + sum(192 * side**2 * 10 + 10 for side in (32, 16, 8))
}
# No gradient of the logits reaches companions; test_dsn.py has theirs.
TINY = {
    "plain": DSN(dims=((8, 8, 8), (8, 8, 8), (8, 8)), companions=False, image_size=12)
}
STRIDES = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4}
