"""Class-aware RPN: a network of proposals that says of which class they are.

A one-stage detector, as Dai et al., 2017, https://arxiv.org/abs/1703.06211, section 4,
measure deformable convolution with. With `num_classes=2` it is the class-agnostic one
of Ren et al.: whatever the objects are labelled, it learns that something is there.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cnnjax.detection._anchors import grid_anchors
from cnnjax.detection._coding import decode_boxes
from cnnjax.detection._detector import (
    SMALL,
    Detector,
    Losses,
    Objects,
    Output,
    mean_over,
    per_anchor,
    sizes_of,
    smooth_l1,
)
from cnnjax.detection._outputs import detect
from cnnjax.detection._rpn import RATIOS, learnt_anchors
from cnnjax.models import BackboneNetwork, Paper, map_at, resnet


STRIDE = 16


class ClassAwareRPN(Detector, BackboneNetwork, kw_only=True):
    """Class-aware RPN on a classifier whose last map has stride 16.

    Attributes:
      features: channels of the layer on the last map.
      anchor_sizes: of the anchors of a place, in pixels.
    """

    image_size: int = 608
    features: int = 512
    anchor_sizes: tuple[int, ...] = (64, 128, 256, 512)

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "n h w c"],
        objects: Objects | None = None,
        sizes: Array | None = None,
        *,
        train: bool = False,
    ) -> Output:
        """Endpoints: the classifier's, feature_0 (stride 16).

        And head_cls_logits [n, anchors, num_classes], head_bbox_regression [n, anchors,
        4], anchors_0. Losses: classification, boxes; where objects are told, chance
        decides which anchors are learnt from, as in Faster R-CNN.
        """
        conv = self.layers(train, SMALL, use_bias=True).conv
        maps, out = self.run_backbone(image, train)
        out = {name: x for name, x in out.items() if x.ndim == 4}
        x = nn.relu(conv(self.features, 3, name="conv")(map_at(maps, STRIDE)))
        out["feature_0"] = x
        count = RATIOS * len(self.anchor_sizes)
        logits = per_anchor(conv(count * self.classes, name="head")(x), self.classes)
        deltas = per_anchor(conv(count * 4, name="box_head")(x), 4)
        out |= {"head_cls_logits": logits, "head_bbox_regression": deltas}
        anchors = grid_anchors(image.shape[1:3], [x.shape[1:3]], [self.anchor_sizes])
        out["anchors_0"] = jnp.asarray(anchors)
        if objects is not None:
            learn = jax.vmap(functools.partial(_losses, jnp.asarray(anchors)))
            keys = jax.random.split(self.chance(), len(image))
            return learn(keys, logits, deltas, objects), out
        found = [(nn.softmax(logits), deltas, anchors)]
        sizes = sizes_of(image, sizes)
        return detect(found, decode_boxes, sizes, self.selection), out


def _losses(
    anchors: Float[Array, "a 4"],
    key: Array,
    logits: Float[Array, "a classes"],
    deltas: Float[Array, "a 4"],
    objects: Objects,
) -> Losses:
    """Returns the losses of one image."""
    places, valid, matched, wanted = learnt_anchors(key, anchors, objects)
    found, count = valid & (matched >= 0), valid.sum()
    labels = jnp.minimum(objects["labels"][matched], logits.shape[-1] - 1)
    missed = optax.softmax_cross_entropy_with_integer_labels(
        logits[places], jnp.where(found, labels, 0)
    )
    return {
        "classification": mean_over(missed, valid, count),
        "boxes": mean_over(smooth_l1(deltas[places], wanted), found, count),
    }


PAPERS = {"*": Paper("Dai et al.", 2017, "https://arxiv.org/abs/1703.06211")}

VARIANTS = {
    f"class_aware_rpn_{name}": functools.partial(
        ClassAwareRPN,
        classifier=functools.partial(resnet.VARIANTS[name], output_stride=STRIDE),
    )
    for name in ("resnet50", "resnet101")
}
