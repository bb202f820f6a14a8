"""Class-aware RPNs. Counts by hand from the classifiers'."""

import functools

from cnnjax.detection import ClassAwareRPN
from families.retinanet import RESNET, SMALL, without_head


# A 3x3 convolution; logits and boxes of 12 anchors.
REST = (9 * 2048 + 1) * 512 + 513 * 12 * (91 + 4)
NUM_PARAMS = {
    f"class_aware_rpn_{name}": without_head(name) + REST
    for name in ("resnet50", "resnet101")
}
TINY = {
    "resnet": ClassAwareRPN(
        classifier=functools.partial(RESNET, output_stride=16),
        num_classes=4,
        image_size=64,
        features=8,
        anchor_sizes=(16, 32),
        selection=SMALL,
    ),
}
