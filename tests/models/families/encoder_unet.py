"""U-Nets on classifiers. Counts by hand from the classifiers'."""

from cnnjax.segmentation import EncoderUNet
from families.dilated_fcn import RESNET
from families.resnet import NUM_PARAMS as RESNETS
from families.vgg import NUM_PARAMS as VGGS


def decoder(*features, coarsest):
    """Two 3x3 convolutions with norms for each of the maps, then the head."""
    count, below = 0, coarsest
    for joined in features:
        own = min(joined, 256)
        count += 9 * (joined + below) * own + 9 * own * own + 4 * own
        below = own
    return count + (below + 1) * 21


SMALL = decoder(256, 128, 64, coarsest=512) - (512 + 1) * 1000
LARGE = decoder(1024, 512, 256, coarsest=2048) - (2048 + 1) * 1000
# The dense layers of VGG; its maps are of strides 32, 16, 8, 4, 2, and 1 in the stem.
DENSE = (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
NUM_PARAMS = {
    "unet_resnet18": RESNETS["resnet18"] + SMALL,
    "unet_resnet34": RESNETS["resnet34"] + SMALL,
    "unet_resnet50": RESNETS["resnet50"] + LARGE,
    "unet_vgg16_bn": VGGS["vgg16_bn"]
    + decoder(512, 256, 128, 64, 64, coarsest=512)
    - DENSE,
}
TINY = {"resnet": EncoderUNet(classifier=RESNET, num_classes=5, image_size=64)}
STRIDES = {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 16}
STRIDES |= {"decoder8": 8, "decoder4": 4, "pre_logits": 4, "logits": 1}
