"""ShuffleNets, version 1. Counts as pytorchcv's models have them; others by hand."""

from cnnjax.models.shufflenet_v1 import ShuffleNetV1


def by_hand(groups, stem, channels, middles, depths=(4, 8, 4)):
    """Counts from the channels of the first stage and those in the middle of units."""
    count = 27 * stem + 2 * stem
    before = stem
    for stage, (middle, depth) in enumerate(zip(middles, depths, strict=True)):
        features = channels * 2**stage
        depthwise = 9 * middle + 2 * middle
        for block in range(depth):
            share = 1 if stage == block == 0 else groups
            own = features - before if block == 0 else features
            count += before * middle // share + 2 * middle + depthwise
            count += middle * own // groups + 2 * own
            before = features
    return count + 1000 * before + 1000


# Kernels and biases of the excitation of 4, 8 and 4 units.
EXCITATION = sum(
    n * (2 * c * c // 16 + c // 16 + c) for n, c in ((4, 480), (8, 960), (4, 1920))
)
NUM_PARAMS = {
    "shufflenet_v1_g1_x0_25": 209_746,
    "shufflenet_v1_g1_x0_5": 534_484,
    "shufflenet_v1_g1_x0_75": 975_214,
    "shufflenet_v1_g1": 1_531_936,
    "shufflenet_v1_g1_x1_5": by_hand(1, 24, 216, (54, 108, 216)),
    "shufflenet_v1_g1_x2_0": 4_918_744,
    "shufflenet_v1_g2_x0_25": by_hand(2, 6, 50, (12, 26, 50)),
    "shufflenet_v1_g2_x0_5": by_hand(2, 12, 100, (26, 50, 100)),
    "shufflenet_v1_g2_x0_75": by_hand(2, 18, 150, (38, 76, 150)),
    "shufflenet_v1_g2": 1_733_848,
    "shufflenet_v1_g2_x1_5": by_hand(2, 24, 300, (76, 150, 300)),
    "shufflenet_v1_g2_x2_0": 5_257_896,
    "shufflenet_v1_g3_x0_25": 305_902,
    "shufflenet_v1_g3_x0_5": 718_324,
    "shufflenet_v1_g3_x0_75": 1_238_266,
    "shufflenet_v1_g3": 1_865_728,
    "shufflenet_v1_g3_x1_5": by_hand(3, 24, 360, (90, 180, 360)),
    "shufflenet_v1_g3_x2_0": 5_450_776,
    "shufflenet_v1_g3_x2_0_se": 5_450_776 + EXCITATION,
    "shufflenet_v1_g3_x0_5_shallow": by_hand(3, 18, 168, (42, 84, 168), (2, 4, 2)),
    "shufflenet_v1_g4_x0_25": by_hand(4, 8, 68, (20, 36, 68)),
    "shufflenet_v1_g4_x0_5": by_hand(4, 12, 136, (36, 68, 136)),
    "shufflenet_v1_g4_x0_75": by_hand(4, 20, 204, (52, 104, 204)),
    "shufflenet_v1_g4": 1_968_344,
    "shufflenet_v1_g4_x1_5": by_hand(4, 24, 408, (104, 204, 408)),
    "shufflenet_v1_g4_x2_0": 5_593_528,
    "shufflenet_v1_g8_x0_25": by_hand(8, 8, 96, (24, 48, 96)),
    "shufflenet_v1_g8_x0_5": by_hand(8, 16, 192, (48, 96, 192)),
    "shufflenet_v1_g8_x0_75": by_hand(8, 24, 288, (72, 144, 288)),
    "shufflenet_v1_g8": 2_434_768,
    "shufflenet_v1_g8_x1_5": by_hand(8, 24, 576, (144, 288, 576)),
    "shufflenet_v1_g8_x2_0": 6_522_232,
}


def tiny(depths, **options):
    return ShuffleNetV1(
        groups=2, width=0.08, depths=depths, num_classes=5, image_size=16, **options
    )


TINY = {
    "shuffle": tiny((2,)),
    "squeeze_excite": tiny((1,), shuffle=False, squeeze_excite=True),
}
STRIDES = {"stem": 4, "stage1": 8}
