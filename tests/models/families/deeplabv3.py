"""DeepLab v3. Counts as torchvision publishes them, less the auxiliary head."""

from cnnjax.segmentation import DeepLabV3
from families.dilated_fcn import AUXILIARY, RESNET


NUM_PARAMS = {
    "deeplabv3_resnet50": 42_004_074 - AUXILIARY,
    "deeplabv3_resnet101": 60_996_202 - AUXILIARY,
}
TINY = {"dilated": DeepLabV3(classifier=RESNET, num_classes=5, image_size=32)}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 8}
STRIDES |= {"aspp": 8, "pre_logits": 8, "logits": 1}
