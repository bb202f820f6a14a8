"""RegNets. Counts of torchvision's models."""

import functools

from cnnjax.models.regnet import RegNet


NUM_PARAMS = {
    "regnet_x_400mf": 5_495_976,
    "regnet_x_800mf": 7_259_656,
    "regnet_x_1_6gf": 9_190_136,
    "regnet_x_3_2gf": 15_296_552,
    "regnet_x_8gf": 39_572_648,
    "regnet_x_16gf": 54_278_536,
    "regnet_x_32gf": 107_811_560,
    "regnet_y_400mf": 4_344_144,
    "regnet_y_800mf": 6_432_512,
    "regnet_y_1_6gf": 11_202_430,
    "regnet_y_3_2gf": 19_436_338,
    "regnet_y_8gf": 39_381_472,
    "regnet_y_16gf": 83_590_140,
    "regnet_y_32gf": 145_046_770,
    "regnet_y_128gf": 644_812_894,
}
# Two stages, of 1 and 2 blocks, of 8 and 24 channels.
tiny = functools.partial(
    RegNet,
    depth=3,
    w_0=8,
    w_a=12.0,
    w_m=3.0,
    group_width=8,
    num_classes=10,
    image_size=32,
)
TINY = {"x": tiny(), "y": tiny(squeeze_ratio=0.25)}
STRIDES = {"stem": 2, "stage1": 4, "stage2": 8}
