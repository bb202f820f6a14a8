"""SSD: single shot multibox detector, on VGG 16.

Deviations: losses are divided by the boxes of an image that have objects, not of a
batch; and, as in torchvision, the default boxes are not clipped. They are made for 300
pixels: those of the last map are 300 pixels apart in larger images, too.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from cnnjax import ops
from cnnjax.detection._anchors import ssd_anchors
from cnnjax.detection._coding import decode_boxes, encode_matched
from cnnjax.detection._detector import (
    Detector,
    Losses,
    Objects,
    Output,
    mean_over,
    per_anchor,
    sizes_of,
    smooth_l1,
)
from cnnjax.detection._matching import claim_best, hard_negatives, match_anchors
from cnnjax.detection._outputs import Detections, Selection, best, clip, suppress, take
from cnnjax.models import ModuleDef, Paper


DEPTHS = (2, 2, 3, 3, 3)  # Convolutions of the stages of VGG.
BOXES = (4, 6, 6, 6, 4, 4)  # Of a place of each map.
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
NEGATIVES = 3  # To each box with an object, so many of the hardest without one.


class SSD(Detector, kw_only=True):
    """SSD detector for images of 300 pixels.

    Attributes:
      selection: its candidates are of a class.
      dims: channels of the five stages of VGG, and of the layers that follow them.
    """

    image_size: int = 300
    selection: Selection = Selection(
        score_threshold=0.01, candidates=400, iou_threshold=0.45, max_detections=200
    )
    dims: tuple[int, ...] = (64, 128, 256, 512, 512, 1024, 512, 256, 256, 256)

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "n h w c"],
        objects: Objects | None = None,
        sizes: Array | None = None,
        *,
        train: bool = False,
    ) -> Output:
        """Endpoints: feature_0 (stride 8, 38 x 38) to feature_5 (300, 1 x 1).

        And head_cls_logits [n, 8732, num_classes], head_bbox_regression [n, 8732, 4];
        anchors_i of each map.
        Losses: classification, boxes.

        Raises:
          ValueError: if the image is so small that nothing is left of the last maps.
        """
        init = nn.initializers.xavier_uniform()
        conv = self.layers(train, init, use_bias=True).conv
        maps = self.maps(image, conv)
        if not maps[-1].size:
            raise ValueError(
                f"of {image.shape[1]} x {image.shape[2]} pixels nothing is left for "
                "the last maps: SSD is made for 300 x 300"
            )
        out = {f"feature_{k}": x for k, x in enumerate(maps)}
        sides = [x.shape[1:3] for x in maps]
        anchors = jnp.asarray(ssd_anchors(image.shape[1:3], sides))
        counts = [k * math.prod(side) for k, side in zip(BOXES, sides, strict=True)]
        each = jnp.split(anchors, np.cumsum(counts)[:-1])
        out |= {f"anchors_{k}": boxes for k, boxes in enumerate(each)}
        logits, deltas = [], []
        for k, (x, boxes) in enumerate(zip(maps, BOXES, strict=True)):
            y = conv(boxes * self.classes, 3, name=f"head_{k}")(x)
            logits.append(per_anchor(y, self.classes))
            deltas.append(per_anchor(conv(boxes * 4, 3, name=f"box_head_{k}")(x), 4))
        scores = out["head_cls_logits"] = jnp.concatenate(logits, axis=1)
        moves = out["head_bbox_regression"] = jnp.concatenate(deltas, axis=1)
        if objects is not None:
            return jax.vmap(functools.partial(_losses, anchors))(
                scores, moves, objects
            ), out
        return self.detect(anchors, scores, moves, sizes_of(image, sizes)), out

    def maps(self, image: Array, conv: ModuleDef) -> list[Array]:
        """Returns the six maps that are looked at (Fig. 2), the finest first."""
        x, found = image, []
        for stage, depth in enumerate(DEPTHS, start=1):
            if stage > 1:  # The third keeps an odd pixel: 75 become 38.
                x = ops.max_pool2d(x, 2, 2, ceil_mode=stage == 4)
            for k in range(1, depth + 1):
                x = nn.relu(conv(self.dims[stage - 1], 3, name=f"conv{stage}_{k}")(x))
            if stage == 4:
                scale = self.param(
                    "scale",
                    nn.initializers.constant(20.0),
                    x.shape[-1:],
                    self.param_dtype,
                )
                length = jnp.linalg.norm(x, axis=-1, keepdims=True)
                found.append(x / jnp.maximum(length, 1e-12) * scale[None, None, None])
        x = ops.max_pool2d(x, 3, 1, 1)
        x = nn.relu(conv(self.dims[5], 3, kernel_dilation=6, name="conv6")(x))
        x = nn.relu(conv(self.dims[5], name="conv7")(x))
        found.append(x)
        for stage, features in enumerate(self.dims[6:], start=8):
            x = nn.relu(conv(features // 2, name=f"conv{stage}_1")(x))
            strides, padding = (2, 1) if stage < 10 else (1, 0)
            x = nn.relu(conv(features, 3, strides, padding, name=f"conv{stage}_2")(x))
            found.append(x)
        return found

    def detect(
        self,
        anchors: Float[Array, "a 4"],
        logits: Float[Array, "n a classes"],
        deltas: Float[Array, "n a 4"],
        sizes: Int[Array, "n 2"],
    ) -> Detections:
        """Returns the detections: of each class the best candidates are looked at."""
        number, count, classes = logits.shape
        scores = nn.softmax(logits)[:, :, 1:].transpose(0, 2, 1)
        highest, places = best(
            scores.reshape(-1, count),
            self.selection.candidates,
            self.selection.score_threshold,
        )
        decode = functools.partial(decode_boxes, anchors_xyxy=anchors, weights=WEIGHTS)
        boxes = clip(jax.vmap(decode)(deltas), sizes)
        places = places.reshape(number, -1)
        labels = jnp.repeat(jnp.arange(1, classes), highest.shape[1])
        return suppress(
            take(boxes, places),
            highest.reshape(number, -1),
            jnp.broadcast_to(labels, places.shape),
            self.selection.iou_threshold,
            self.selection.max_detections,
        )


def _losses(
    anchors: Float[Array, "a 4"],
    logits: Float[Array, "a classes"],
    deltas: Float[Array, "a 4"],
    objects: Objects,
) -> Losses:
    """Returns the losses of one image (section 2.2)."""
    boxes = objects["boxes_xyxy"]
    overlaps = ops.box_iou(boxes, anchors)
    matched = match_anchors(overlaps, objects["valid"], 0.5, 0.5)
    matched = claim_best(matched, overlaps, objects["valid"])
    found = matched >= 0
    count = found.sum()
    labels = jnp.where(found, objects["labels"][matched], 0)
    missed = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    learnt = found | hard_negatives(missed, matched, NEGATIVES)
    wanted = encode_matched(boxes, matched, anchors, WEIGHTS)
    return {
        "classification": mean_over(missed, learnt, count),
        "boxes": mean_over(smooth_l1(deltas, wanted, 1.0), found, count),
    }


PAPERS = {"*": Paper("Liu et al.", 2016, "https://arxiv.org/abs/1512.02325")}

VARIANTS = {"ssd300_vgg16": SSD}
