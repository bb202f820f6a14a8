"""ShiftResNets. Counts by hand, which the paper prints in hundredths of a million."""

from cnnjax.models.shiftresnet import ShiftResNet


def by_hand(depth, expansion):
    """Counts 3 stages of 16, 32 and 64 channels, the stem and the head."""
    count, before = 27 * 16 + 2 * 16 + 64 * 10 + 10, 16
    for features in (16, 32, 64):
        middle = expansion * features
        rest = 2 * middle + middle * features + 2 * features
        count += before * middle + rest + (depth - 1) * (features * middle + rest)
        if features != before:
            count += before * features + 2 * features
        before = features
    return count


NUM_PARAMS = {
    f"shiftresnet{6 * depth + 2}{suffix}_cifar": by_hand(depth, expansion)
    for depth in (3, 9, 18)
    for suffix, expansion in (("", 9), ("_e1", 1), ("_e3", 3), ("_e6", 6), ("_e9", 9))
}
TINY = {"blocks": ShiftResNet(depths=(1, 1), expansion=1, image_size=8)}
STRIDES = {"stem": 1, "stage1": 1, "stage2": 2}
