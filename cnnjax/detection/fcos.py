"""FCOS: fully convolutional one-stage detection, without anchors of several shapes.

Deviations, those of torchvision: places of maps lie at their first corners; distances
are those to the sides in strides, cut at 0; boxes are learnt by generalised IoU; the
centre-ness is a branch of the box tower; class 0 is never to be found, but has a logit.
Losses are divided by the places of an image that have objects, not of a batch.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from cnnjax import losses, ops
from cnnjax.detection._anchors import grid_anchors
from cnnjax.detection._detector import (
    SMALL,
    Losses,
    Objects,
    Output,
    PyramidDetector,
    mean_over,
    per_anchor,
    sizes_of,
)
from cnnjax.detection._heads import Tower, prior
from cnnjax.detection._matching import NO_OBJECT
from cnnjax.detection._outputs import Selection, detect
from cnnjax.models import Paper, resnet


STRIDES = (8, 16, 32, 64, 128)
# An object's box is learnt by places nearer to its middle than this many strides, and
# on the map where its farthest side is 4 to 8 strides away.
RADIUS = 1.5
NEAREST, FARTHEST = 4, 8


class FCOS(PyramidDetector, kw_only=True):
    """FCOS detector.

    Attributes:
      groups: of channels that the towers normalise.
    """

    image_size: int = 800
    selection: Selection = Selection(score_threshold=0.2, iou_threshold=0.6)
    groups: int = 32

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

        And head_cls_logits [n, places, num_classes], head_bbox_regression [n, places,
        4] and head_bbox_ctrness [n, places, 1]. Losses: classification, boxes,
        centerness.
        """
        conv = self.layers(train, SMALL, use_bias=True).conv
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        norm = functools.partial(
            nn.GroupNorm, num_groups=self.groups, epsilon=1e-5, **types
        )
        maps, out = self.pyramid(image, train, STRIDES[:3])
        maps = self.coarser(maps, conv, len(STRIDES))
        out |= self.named(maps)

        points = [
            grid_anchors(image.shape[1:3], [x.shape[1:3]], [[stride]], [1.0])
            for x, stride in zip(maps, STRIDES, strict=True)
        ]
        class_tower = Tower(conv, norm, name="class_tower")
        class_head = conv(self.classes, 3, bias_init=prior(0.01), name="head")
        box_tower = Tower(conv, norm, name="box_tower")
        box_head = conv(4, 3, name="box_head")
        center_head = conv(1, 3, name="center_head")
        logits = [per_anchor(class_head(class_tower(x)), self.classes) for x in maps]
        seen = [box_tower(x) for x in maps]
        sides = [per_anchor(nn.relu(box_head(x)), 4) for x in seen]
        centers = [per_anchor(center_head(x), 1) for x in seen]
        whole = [jnp.concatenate(x, axis=1) for x in (logits, sides, centers)]
        stages = ("head_cls_logits", "head_bbox_regression", "head_bbox_ctrness")
        out |= zip(stages, whole, strict=True)
        if objects is not None:
            around = jnp.concatenate(points)
            learn = jax.vmap(_losses, in_axes=(None, 0, 0, 0, 0))
            return learn(around, whole[0], whole[1], whole[2], objects), out
        found = [
            (jnp.sqrt(nn.sigmoid(x) * nn.sigmoid(c)), s, p)
            for x, c, s, p in zip(logits, centers, sides, points, strict=True)
        ]
        return detect(found, _decode, sizes_of(image, sizes), self.selection), out


def _decode(sides: Float[Array, "k 4"], points: Float[Array, "k 4"]) -> Array:
    """Returns boxes from the distances to their left, upper, right and lower sides.

    Args:
      sides: distances, in strides.
      points: the boxes of a stride around places.
    """
    middle = (points[:, :2] + points[:, 2:]) / 2
    first, last = jnp.split(
        sides * (points[:, 2:] - points[:, :2])[:, [0, 1, 0, 1]], 2, 1
    )
    return jnp.concatenate([middle - first, middle + last], axis=1)


def _match(points: Float[Array, "a 4"], objects: Objects) -> Int[Array, " a"]:
    """Returns the smallest object that a place has to find, or `NO_OBJECT`."""
    boxes = objects["boxes_xyxy"][None]
    middle = ((points[:, :2] + points[:, 2:]) / 2)[:, None]
    stride = (points[:, 2] - points[:, 0])[:, None]
    away = jnp.abs(middle - (boxes[..., :2] + boxes[..., 2:]) / 2).max(-1)
    distances = jnp.concatenate([middle - boxes[..., :2], boxes[..., 2:] - middle], -1)
    farthest = distances.max(-1)
    least = jnp.where(stride == STRIDES[0], 0, NEAREST * stride)
    most = jnp.where(stride == STRIDES[-1], jnp.inf, FARTHEST * stride)
    fits = (away < RADIUS * stride) & (distances.min(-1) > 0)
    fits &= (farthest > least) & (farthest < most) & objects["valid"][None]
    area = jnp.where(fits, ops.box_area(boxes), jnp.inf)
    return jnp.where(fits.any(1), jnp.argmin(area, 1), NO_OBJECT)


def _losses(
    points: Array, logits: Array, sides: Array, centers: Array, objects: Objects
) -> Losses:
    """Returns the losses of one image (section 3.1)."""
    matched = _match(points, objects)
    found = matched >= 0
    count = found.sum()
    labels = jnp.where(found, objects["labels"][matched], -1)
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    wanted = jnp.where(found[:, None], objects["boxes_xyxy"][matched], points)
    overlap = ops.paired_giou(_decode(sides, points), wanted)
    middle = (points[:, :2] + points[:, 2:]) / 2
    ahead, behind = middle - wanted[:, :2], wanted[:, 2:] - middle
    ratios = jnp.minimum(ahead, behind) / jnp.maximum(ahead, behind)
    centered = jnp.sqrt(ratios[:, 0] * ratios[:, 1])
    missed = optax.sigmoid_binary_cross_entropy(centers[:, 0], centered)
    everywhere = jnp.ones(found.shape, bool)
    return {
        "classification": mean_over(
            losses.sigmoid_focal(logits, targets).sum(-1), everywhere, count
        ),
        "boxes": mean_over(1 - overlap, found, count),
        "centerness": mean_over(missed, found, count),
    }


PAPERS = {"*": Paper("Tian et al.", 2019, "https://arxiv.org/abs/1904.01355")}

VARIANTS = {
    f"fcos_{name}_fpn": functools.partial(FCOS, classifier=resnet.VARIANTS[name])
    for name in ("resnet50", "resnet101")
}
