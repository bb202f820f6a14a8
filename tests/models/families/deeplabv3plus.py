"""DeepLab v3+. Counts by hand from version 3's: another decoder."""

from cnnjax.segmentation import DeepLabV3Plus
from families.deeplabv3 import NUM_PARAMS as VERSION_3
from families.dilated_fcn import RESNET


# Without the 3x3 convolution and its norm; the low-level map's 1x1, two 3x3, norms.
DECODER = 256 * 48 + 2 * 48 + 9 * (48 + 256) * 256 + 9 * 256 * 256 + 4 * 256
NUM_PARAMS = {
    name.replace("v3", "v3plus"): count - (9 * 256 * 256 + 2 * 256) + DECODER
    for name, count in VERSION_3.items()
}
TINY = {"dilated": DeepLabV3Plus(classifier=RESNET, num_classes=5, image_size=64)}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 16}
STRIDES |= {"aspp": 16, "pre_logits": 4, "logits": 1}
