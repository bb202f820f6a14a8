"""R-FCNs. Counts by hand from the classifiers'."""

import functools

from cnnjax.detection import RFCN
from families.retinanet import RESNET, SMALL, without_head


# A 1x1 convolution; the head of proposals, of 12 anchors; maps for 7 x 7 bins.
REST = 2049 * 1024 + (9 * 1024 + 1) * 1024 + 1025 * 12 * 5 + 1025 * 49 * (91 + 4)
NUM_PARAMS = {
    f"rfcn_{name}": without_head(name) + REST for name in ("resnet50", "resnet101")
}
TINY = {
    "deformable": RFCN(
        classifier=functools.partial(RESNET, output_stride=16),
        deformable_blocks=1,
        deformable_pooling=True,
        num_classes=4,
        image_size=64,
        features=8,
        anchor_sizes=(16, 32),
        samples=16,
        selection=SMALL,
    ),
}
