"""EfficientNetV2. Counts as torchvision publishes them."""

from cnnjax.models.efficientnet import Stage
from cnnjax.models.efficientnet_v2 import EfficientNetV2


NUM_PARAMS = {
    "efficientnet_v2_s": 21_458_488,
    "efficientnet_v2_m": 54_139_356,
    "efficientnet_v2_l": 118_515_272,
}
TINY = {
    "blocks": EfficientNetV2(
        stages=(
            Stage(1, 3, 1, 8, 1, fused=True),
            Stage(4, 3, 2, 16, 2, fused=True),
            Stage(4, 3, 2, 24, 1),
        ),
        stem_features=8,
        head_features=32,
        num_classes=10,
        image_size=32,
    )
}
STRIDES = {"stem": 2, "stage1": 2, "stage2": 4, "stage3": 8}
