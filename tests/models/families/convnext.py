"""ConvNeXt. Counts as torchvision has them."""

from cnnjax.models.convnext import ConvNeXt


NUM_PARAMS = {
    "convnext_tiny": 28_589_128,
    "convnext_small": 50_223_688,
    "convnext_base": 88_591_464,
    "convnext_large": 197_767_336,
}
TINY = {
    "tiny": ConvNeXt(
        depths=(1, 1),
        features=8,
        drop_path_rate=0.5,
        num_classes=10,
        image_size=16,
    )
}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8}
