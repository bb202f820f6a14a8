"""Swin Transformers. Counts as torchvision has them."""

from cnnjax.models.swin import Swin


NUM_PARAMS = {
    "swin_t": 28_288_354,
    "swin_s": 49_606_258,
    "swin_b": 87_768_224,
    # The table of biases has 23^2 rows instead of 13^2, for each block's heads.
    "swin_b_384": 87_768_224 + (23**2 - 13**2) * (2 * 4 + 2 * 8 + 18 * 16 + 2 * 32),
}
TINY = {
    "padded": Swin(  # 8 and 4 pixels in windows of 3, shifted.
        depths=(2, 2),
        features=8,
        heads=2,
        window=3,
        drop_path_rate=0.5,
        num_classes=10,
        image_size=32,
    )
}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8}
