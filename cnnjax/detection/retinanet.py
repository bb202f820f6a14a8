"""RetinaNet: focal loss for dense object detection.

Deviations, those of torchvision: the two coarsest maps come from the pyramid's last one
instead of the classifier's; the class 0 is never to be found, but has a logit. And one
of ours: the towers are initialised after He et al., since with the paper's deviation of
0.01 what enters narrow ones does not come out.
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import losses, ops
from cnnjax.detection._anchors import grid_anchors
from cnnjax.detection._coding import decode_boxes, encode_matched
from cnnjax.detection._detector import (
    SMALL,
    Losses,
    Objects,
    Output,
    PyramidDetector,
    mean_over,
    per_anchor,
    sizes_of,
    smooth_l1,
)
from cnnjax.detection._heads import Tower, prior
from cnnjax.detection._matching import BETWEEN, match_anchors
from cnnjax.detection._outputs import Selection, detect
from cnnjax.models import Paper, he_normal, resnet


class RetinaNet(PyramidDetector, kw_only=True):
    """RetinaNet detector.

    Attributes:
      anchor_sizes: the smallest of the three sizes of each map, in pixels; three to
        five maps, from stride 8 on.
      classification_loss: (logits, targets) -> losses, of every logit on its own.
    """

    image_size: int = 800
    selection: Selection = Selection(max_detections=300)
    anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512)
    classification_loss: Callable[..., Array] = losses.sigmoid_focal

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "n h w c"],
        objects: Objects | None = None,
        sizes: Array | None = None,
        *,
        train: bool = False,
    ) -> Output:
        """Endpoints: feature_0 (stride 8) to feature_2 (32), feature_p6, feature_p7.

        And head_cls_logits [n, anchors, num_classes], head_bbox_regression [n, anchors,
        4]; anchors_i of each map. Losses: classification, boxes.
        """
        conv = self.layers(train, SMALL, use_bias=True).conv
        tower_conv = self.layers(train, he_normal, use_bias=True).conv
        maps, out = self.pyramid(image, train, (8, 16, 32))
        maps = self.coarser(maps, conv, len(self.anchor_sizes))
        out |= self.named(maps)

        # Three sizes in an octave, each in three shapes.
        steps = [2 ** (k / 3) for k in range(3)]
        octaves = [[int(size * step) for step in steps] for size in self.anchor_sizes]
        each = [
            grid_anchors(image.shape[1:3], [x.shape[1:3]], [octave])
            for x, octave in zip(maps, octaves, strict=True)
        ]
        out |= {f"anchors_{k}": jnp.asarray(boxes) for k, boxes in enumerate(each)}
        class_tower = Tower(tower_conv, name="class_tower")
        class_head = conv(9 * self.classes, 3, bias_init=prior(0.01), name="head")
        box_tower = Tower(tower_conv, name="box_tower")
        box_head = conv(9 * 4, 3, name="box_head")
        logits = [per_anchor(class_head(class_tower(x)), self.classes) for x in maps]
        deltas = [per_anchor(box_head(box_tower(x)), 4) for x in maps]
        all_logits = out["head_cls_logits"] = jnp.concatenate(logits, axis=1)
        all_deltas = out["head_bbox_regression"] = jnp.concatenate(deltas, axis=1)
        if objects is not None:
            learn = functools.partial(self._losses, jnp.concatenate(each))
            return jax.vmap(learn)(all_logits, all_deltas, objects), out
        scores = [nn.sigmoid(x) for x in logits]
        found = zip(scores, deltas, each, strict=True)
        decoded = detect([*found], decode_boxes, sizes_of(image, sizes), self.selection)
        return decoded, out

    def _losses(
        self, anchors: Array, logits: Array, deltas: Array, objects: Objects
    ) -> Losses:
        """Returns the losses of one image (section 4.1)."""
        boxes, labels = objects["boxes_xyxy"], objects["labels"]
        overlaps = ops.box_iou(boxes, anchors)
        matched = match_anchors(overlaps, objects["valid"], 0.5, 0.4, low_quality=True)
        found = matched >= 0
        count = found.sum()
        targets = jax.nn.one_hot(jnp.where(found, labels[matched], -1), self.classes)
        missed = self.classification_loss(logits, targets).sum(-1)
        wanted = encode_matched(boxes, matched, anchors)
        return {
            "classification": mean_over(missed, matched != BETWEEN, count),
            "boxes": mean_over(smooth_l1(deltas, wanted), found, count),
        }


PAPERS = {"*": Paper("Lin et al.", 2017, "https://arxiv.org/abs/1708.02002")}

VARIANTS = {
    f"retinanet_{name}_fpn": functools.partial(
        RetinaNet, classifier=resnet.VARIANTS[name]
    )
    for name in ("resnet18", "resnet50", "resnet101")
}
# For images of 64 pixels, as the scenes of digits are.
VARIANTS["retinanet_resnet18_fpn_small"] = functools.partial(
    VARIANTS["retinanet_resnet18_fpn"],
    image_size=64,
    features=64,
    anchor_sizes=(16, 32, 64),
    selection=Selection(candidates=200, max_detections=100),
)
