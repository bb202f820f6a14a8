"""NIN. Count of the golden file."""

from cnnjax.models.nin import NIN


NUM_PARAMS = {"nin_cifar": 966_986}
TINY = {"small": NIN(dims=((8, 8, 8), (8, 8, 8), (8, 8)), image_size=12)}
STRIDES = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 4}
