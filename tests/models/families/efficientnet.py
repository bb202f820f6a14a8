"""EfficientNets. Counts as torchvision publishes them."""

from cnnjax.models.efficientnet import EfficientNet, Stage


NUM_PARAMS = {
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
}
TINY = {
    "blocks": EfficientNet(
        stages=(Stage(1, 3, 1, 8, 1), Stage(6, 5, 2, 16, 2)),
        stem_features=8,
        head_features=32,
        num_classes=10,
        image_size=32,
    )
}
STRIDES = {"stem": 2, "stage1": 2, "stage2": 4}
