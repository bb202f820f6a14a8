"""ShiftNets. Counts by hand, of which the paper prints 4.1, 1.1 and 0.78 million."""

from cnnjax.models.shiftnet import ShiftNet, Stage


def by_hand(dims, modules, concatenated):
    """Counts from the channels, and (expansion, how many) of the modules of each stage.

    A module has two convolutions and a norm before each.
    """
    count, before = 3 * 7 * 7 * dims[0], dims[0]
    for features, stage in zip(dims[1:], modules, strict=True):
        for i, (expansion, repeat) in enumerate(stage):
            own = features - before if concatenated and i == 0 else features
            middle = expansion * own
            once = before * middle + middle * own + 2 * before + 2 * middle
            count, before = count + repeat * once, features
    return count + 2 * before + 1000 * before + 1000


A = [[(4, 1), (4, 4)], [(4, 1), (3, 5)], [(3, 1), (2, 6)], [(2, 1), (1, 2)]]
C = [[(1, 1)], [(1, 1), (1, 3)], [(1, 1), (1, 3)], [(1, 1), (1, 2)]]
NUM_PARAMS = {
    "shiftnet_a": by_hand((32, 64, 128, 256, 512), A, concatenated=True),
    "shiftnet_b": by_hand((16, 32, 64, 128, 256), A, concatenated=True),
    "shiftnet_c": by_hand((32, 32, 64, 128, 256), C, concatenated=False),
}
TINY = {
    join: ShiftNet(
        stem_dim=8,
        stages=(Stage(2, 18, 3, 1, 2),),
        join=join,
        num_classes=5,
        image_size=8,
    )
    for join in ("concatenate", "add")
}
STRIDES = {"stem": 2, "stage1": 4}
