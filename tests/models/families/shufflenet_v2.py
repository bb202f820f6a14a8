"""ShuffleNets, version 2. Counts as torchvision publishes them."""

from cnnjax.models.shufflenet_v2 import ShuffleNetV2


NUM_PARAMS = {
    "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604,
    "shufflenet_v2_x1_5": 3_503_624,
    "shufflenet_v2_x2_0": 7_393_996,
}
TINY = {
    "units": ShuffleNetV2(
        dims=(8,), last_dim=12, depths=(2,), num_classes=5, image_size=16
    )
}
STRIDES = {"stem": 4, "stage1": 8}
