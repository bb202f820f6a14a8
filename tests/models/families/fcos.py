"""FCOS. Counts as torchvision publishes them; others by hand."""

from cnnjax.detection import FCOS
from families.retinanet import NORMS_50, RESNET, SMALL, pyramid, without_head


# Towers with norms, then logits, sides and centre-ness.
HEADS = 8 * ((9 * 256 + 1) * 256 + 2 * 256) + (9 * 256 + 1) * (91 + 4 + 1)
NUM_PARAMS = {
    "fcos_resnet50_fpn": 32_269_600 + NORMS_50,
    "fcos_resnet101_fpn": without_head("resnet101") + pyramid(512, 256) + HEADS,
}
TINY = {
    "resnet": FCOS(
        classifier=RESNET,
        num_classes=4,
        image_size=64,
        features=8,
        groups=2,
        selection=SMALL,
    ),
}
