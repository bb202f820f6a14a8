"""EfficientNet-Lite. Counts as timm's `tf_efficientnet_lite0` and so on have them."""

from cnnjax.models.efficientnet import Stage
from cnnjax.models.efficientnet_lite import EfficientNetLite


NUM_PARAMS = {
    "efficientnet_lite0": 4_652_008,
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
}
TINY = {
    "blocks": EfficientNetLite(
        stages=(Stage(1, 3, 1, 8, 1), Stage(6, 5, 2, 16, 2)),
        stem_features=8,
        head_features=32,
        num_classes=10,
        image_size=33,
    )
}
STRIDES = {"stem": 2, "stage1": 2, "stage2": 4}
