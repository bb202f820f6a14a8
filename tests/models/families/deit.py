"""DeiT. Counts as timm has them."""

from cnnjax.models.deit import DeiT


NUM_PARAMS = {"deit_small": 22_050_664, "deit_base": 86_567_656}
TINY = {
    "tiny": DeiT(
        features=128,
        depth=2,
        patch=8,
        drop_path_rate=0.9,
        num_classes=10,
        image_size=16,
    )
}
STRIDES = {"stem": 8, "stage1": 8}
