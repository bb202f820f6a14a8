"""U-Nets. Counts by hand."""

from cnnjax.segmentation import UNet


def count(norms, width=64):
    """With 4 poolings; a norm takes the place of a bias."""
    own = 2 if norms else 1
    total, before = 0, 3
    for features in (width, 2 * width, 4 * width, 8 * width, 16 * width):
        total += 9 * (before + features) * features + 2 * own * features
        before = features
    for features in (8 * width, 4 * width, 2 * width, width):
        total += (4 * 2 * features + 1) * features  # The transposed convolution.
        total += 9 * (2 + 1) * features * features + 2 * own * features
    return total + (width + 1) * 2


NUM_PARAMS = {
    "unet": count(norms=False),
    "unet_padded": count(norms=True),
    "unet_padded_16": count(norms=True, width=16),
}


def tiny(**options):
    return UNet(depth=1, features=4, num_classes=5, **options)


TINY = {
    "valid": tiny(image_size=24),
    "padded": tiny(padding="same", batch_norm=True, image_size=8),
    "without skips": tiny(padding="same", skips=False, image_size=8),
}
STRIDES = {}  # Maps of valid networks are smaller; `tests/segmentation/test_unet.py`.
