"""MobileNetV2. The count as torchvision publishes it."""

from cnnjax.models.mobilenet_v2 import MobileNetV2, Stage


NUM_PARAMS = {"mobilenet_v2": 3_504_872}
TINY = {
    "narrow": MobileNetV2(
        width=0.25,
        stages=(Stage(1, 16, 1, 1), Stage(6, 32, 2, 2)),
        num_classes=10,
        image_size=32,
    )
}
STRIDES = {"stem": 2, "stage1": 2, "stage2": 4}
