"""MobileNetV3. Counts as torchvision publishes them."""

from cnnjax import ops
from cnnjax.models.mobilenet_v3 import MobileNetV3, Stage


NUM_PARAMS = {"mobilenet_v3_large": 5_483_032, "mobilenet_v3_small": 2_542_856}
TINY = {
    "blocks": MobileNetV3(
        stages=(
            Stage(3, (16,), 16, False, ops.relu, 1),
            Stage(5, (40, 56), 24, True, ops.hard_swish, 2),
        ),
        hidden_features=32,
        num_classes=10,
        image_size=32,
    )
}
STRIDES = {"stem": 2, "stage1": 2, "stage2": 4}
