"""What a detector predicts of a box: how it differs from an anchor."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cnnjax import ops


# Of these, exp is taken: sides grow by a factor of 62.5 at most.
MOST = math.log(1000 / 16)


def encode_boxes(
    boxes_xyxy: Float[Array, "n 4"],
    anchors_xyxy: Float[Array, "n 4"],
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Float[Array, "n 4"]:
    """Returns (dx, dy, dw, dh) that `decode_boxes` makes the boxes of.

    Args:
      boxes_xyxy: [n, 4]; their sides must be positive.
      anchors_xyxy: [n, 4], likewise.
      weights: what the four are multiplied with, so that they have similar spreads:
        (10, 10, 5, 5) in the second stage of Faster R-CNN, and in SSD.

    Source: Girshick et al., 2014, https://arxiv.org/abs/1311.2524, appendix C.
    """
    boxes = ops.convert_boxes(boxes_xyxy, "xyxy", "cxcywh")
    anchors = ops.convert_boxes(anchors_xyxy, "xyxy", "cxcywh")
    moved = (boxes[:, :2] - anchors[:, :2]) / anchors[:, 2:]
    grown = jnp.log(boxes[:, 2:] / anchors[:, 2:])
    return jnp.concatenate([moved, grown], 1) * jnp.asarray([weights])


def decode_boxes(
    deltas: Float[Array, "n 4"],
    anchors_xyxy: Float[Array, "n 4"],
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Float[Array, "n 4"]:
    """Returns the boxes [n, 4] that differ from anchors by (dx, dy, dw, dh).

    Sides grow 62.5-fold at most.

    Args:
      deltas: [n, 4].
      anchors_xyxy: [n, 4].
      weights: as in `encode_boxes`.
    """
    anchors = ops.convert_boxes(anchors_xyxy, "xyxy", "cxcywh")
    deltas = deltas / jnp.asarray([weights])
    middle = anchors[:, :2] + deltas[:, :2] * anchors[:, 2:]
    sides = anchors[:, 2:] * jnp.exp(jnp.minimum(deltas[:, 2:], MOST))
    boxes = jnp.concatenate([middle, sides], 1)
    return ops.convert_boxes(boxes, "cxcywh", "xyxy")


def encode_matched(
    boxes_xyxy: Float[Array, "m 4"],
    matched: Int[Array, " n"],
    anchors_xyxy: Float[Array, "n 4"],
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Float[Array, "n 4"]:
    """Returns what `encode_boxes` does of each anchor's object; 0 where it has none.

    Args:
      boxes_xyxy: the objects' [m, 4].
      matched: numbers of objects, negative for none [n].
      anchors_xyxy: [n, 4]; those without an object need not have an area.
      weights: as in `encode_boxes`.
    """
    found = matched[:, None] >= 0
    unit = jnp.asarray([[0.0, 0.0, 1.0, 1.0]], anchors_xyxy.dtype)
    boxes = jnp.where(found, boxes_xyxy[matched], unit)
    return encode_boxes(boxes, jnp.where(found, anchors_xyxy, unit), weights)
