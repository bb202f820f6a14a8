"""MobileNets, version 1. Counts as pytorchcv's models have them."""

from cnnjax.models.mobilenet_v1 import MobileNetV1


NUM_PARAMS = {
    "mobilenet_v1": 4_231_976,
    "mobilenet_v1_0_75": 2_585_560,
    "mobilenet_v1_0_5": 1_331_592,
    "mobilenet_v1_0_25": 470_072,
}
TINY = {
    "width": MobileNetV1(
        width=0.5, depths=(1, 2), dims=(16, 24), num_classes=5, image_size=8
    )
}
STRIDES = {"stem": 2, "stage1": 2, "stage2": 4}
