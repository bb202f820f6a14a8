"""The second of two stages: which class a region is of, and where its box is."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from cnnjax import ops
from cnnjax.detection._coding import decode_boxes, encode_matched
from cnnjax.detection._detector import (
    Detector,
    Losses,
    Objects,
    full_precision,
    mean_over,
    sizes_of,
    smooth_l1,
)
from cnnjax.detection._matching import (
    BETWEEN,
    NO_OBJECT,
    match_anchors,
    sample,
)
from cnnjax.detection._outputs import Detections, Selection, clip, suppress
from cnnjax.models import Endpoints


# What deltas are multiplied with, so that they have a spread of about 1.
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
LEAST_SIDE = 0.01  # Of a detection, in pixels.
SHARE = 0.25  # The largest part of the regions that are learnt from that have objects.


class RegionDetector(Detector):
    """A detector of two stages.

    Attributes:
      samples: regions of an image that are learnt from.
      selection: so many candidates are looked at on each map, and proposed in all.
    """

    samples: int = 512

    def look_twice(
        self,
        image: Float[Array, "n h w c"],
        objects: Objects | None,
        sizes: Array | None,
        proposals: Float[Array, "n k 4"] | None,
        rpn: Callable[..., Any],
        look: Callable[[Array], tuple[Array, Array, Endpoints]],
    ) -> tuple["Looked", Endpoints]:
        """Proposes regions and looks at them; or at those to learn from.

        Args:
          image, objects, sizes: as in the call.
          proposals: boxes to be looked at instead of those that are proposed.
          rpn: (sizes, objects, key) -> what `RegionProposals` returns.
          look: (boxes [n, k, 4]) -> logits [n k, classes], deltas [n k, boxes 4] of one
            box for each class, or of one for all of them; and endpoints.
        """
        sizes = sizes_of(image, sizes)
        regions, valid, losses, out = rpn(sizes, objects, self.chance())
        if proposals is not None:
            regions, valid = proposals, jnp.ones(proposals.shape[:2], bool)
        matched = jnp.full(valid.shape, NO_OBJECT)
        if objects is not None:
            regions, matched, valid = sample_regions(
                self.chance(), regions, valid, objects, self.samples
            )
        scores, deltas, more = look(regions)
        out |= {"rois": as_rois(regions), **more}
        scores = full_precision(scores).reshape(*valid.shape, -1)
        deltas = full_precision(deltas).reshape(*valid.shape, -1, 4)
        if objects is not None:
            losses |= jax.vmap(region_losses)(
                regions, matched, valid, scores, deltas, objects
            )
            return Looked(losses, regions, matched), out
        detections = detect_in_regions(
            regions, valid, scores, deltas, sizes, self.selection
        )
        return Looked(detections, regions, matched), out


class Looked(NamedTuple):
    """What has come of regions.

    Attributes:
      output: the detections, or the losses.
      regions: boxes [n, k, 4].
      matched: the number of each one's object, if that is known; or `NO_OBJECT`.
    """

    output: Any
    regions: Array
    matched: Array


def as_rois(boxes_xyxy: Float[Array, "n k 4"]) -> Float[Array, "nk 5"]:
    """Returns regions as `ops.roi_align` takes them."""
    image = jnp.arange(len(boxes_xyxy), dtype=boxes_xyxy.dtype)[:, None, None]
    image = jnp.broadcast_to(image, (*boxes_xyxy.shape[:2], 1))
    return jnp.concatenate([image, boxes_xyxy], axis=2).reshape(-1, 5)


def sample_regions(
    key: Array,
    proposals: Float[Array, "n k 4"],
    valid: Bool[Array, "n k"],
    objects: Objects,
    count: int,
) -> tuple[Float[Array, "n s 4"], Int[Array, "n s"], Bool[Array, "n s"]]:
    """Chooses the regions of images to learn from; objects' boxes are among them.

    Returns:
      Boxes; the number of each one's object, or `NO_OBJECT`; and which are valid.

    Source: Girshick, 2015, https://arxiv.org/abs/1504.08083, section 2.3.
    """

    def one(key, proposals, valid, objects):
        boxes = objects["boxes_xyxy"]
        there = jnp.concatenate([valid, objects["valid"]])
        # Padding may be anything, and some gradients would see it.
        regions = jnp.where(there[:, None], jnp.concatenate([proposals, boxes]), 0)
        overlaps = ops.box_iou(boxes, regions)
        matched = match_anchors(overlaps, objects["valid"], 0.5, 0.5)
        # What is no region is never chosen.
        matched = jnp.where(there, matched, BETWEEN)
        chosen, valid = sample(key, matched, count, SHARE)
        return regions[chosen], jnp.where(valid, matched[chosen], NO_OBJECT), valid

    return jax.vmap(one)(
        jax.random.split(key, len(proposals)), proposals, valid, objects
    )


def region_losses(
    regions: Float[Array, "s 4"],
    matched: Int[Array, " s"],
    valid: Bool[Array, " s"],
    scores: Float[Array, "s classes"],
    deltas: Float[Array, "s boxes 4"],
    objects: Objects,
) -> Losses:
    """Returns `classification` and `boxes` of one image (section 2.3).

    Args:
      regions, matched, valid: as `sample_regions` returns them.
      scores: logits.
      deltas: of a box for each class, or of one for all of them.
      objects: of the image.
    """
    found, count = matched >= 0, valid.sum()
    labels = jnp.where(found, objects["labels"][matched], 0)
    missed = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
    wanted = encode_matched(objects["boxes_xyxy"], matched, regions, WEIGHTS)
    own = jnp.minimum(labels, deltas.shape[1] - 1)[:, None, None]
    own = jnp.take_along_axis(deltas, own, axis=1)[:, 0]
    return {
        "classification": mean_over(missed, valid, count),
        "boxes": mean_over(smooth_l1(own, wanted), found, count),
    }


def detect_in_regions(
    proposals: Float[Array, "n k 4"],
    valid: Bool[Array, "n k"],
    scores: Float[Array, "n k classes"],
    deltas: Float[Array, "n k boxes 4"],
    sizes: Int[Array, "n 2"],
    selection: Selection,
) -> Detections:
    """Returns the detections among the boxes that regions become, one per class.

    Args:
      proposals, valid: the regions.
      scores: logits.
      deltas: as in `region_losses`.
      sizes: rows and columns of the images.
      selection: of its thresholds and `max_detections`; all candidates are looked at.
    """
    number, count, classes = scores.shape
    shape = (number, count, classes - 1, 4)
    # The background has no box.
    deltas = deltas[:, :, 1:] if deltas.shape[2] > 1 else deltas
    around = jnp.broadcast_to(proposals[:, :, None], deltas.shape)
    boxes = decode_boxes(deltas.reshape(-1, 4), around.reshape(-1, 4), WEIGHTS)
    boxes = jnp.broadcast_to(boxes.reshape(deltas.shape), shape)
    boxes = clip(boxes.reshape(number, -1, 4), sizes)
    scores = jax.nn.softmax(scores)[:, :, 1:]
    scores = jnp.where(valid[..., None], scores, -jnp.inf).reshape(number, -1)
    sides = boxes[..., 2:] - boxes[..., :2]
    fits = (scores > selection.score_threshold) & (sides >= LEAST_SIDE).all(-1)
    labels = jnp.asarray(np.arange(count * (classes - 1)) % (classes - 1) + 1)
    return suppress(
        boxes,
        jnp.where(fits, scores, -jnp.inf),
        jnp.broadcast_to(labels, scores.shape),
        selection.iou_threshold,
        selection.max_detections,
    )
