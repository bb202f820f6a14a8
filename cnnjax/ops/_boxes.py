"""Boxes as x1, y1, x2, y2 in pixels: areas, overlaps, and other ways to write them."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax.ops._check import check, check_rows
from cnnjax.ops._spec import AnyArray


FORMATS = ("xyxy", "xywh", "cxcywh")


def box_area(boxes_xyxy: AnyArray) -> Float[Array, "*shape"]:
    """Returns (x2 - x1) (y2 - y1) of boxes [..., 4], in pixels."""
    check(
        boxes_xyxy.shape[-1:] == (4,),
        f"boxes must be [..., 4], not of shape {boxes_xyxy.shape}",
    )
    x1, y1, x2, y2 = jnp.moveaxis(jnp.asarray(boxes_xyxy), -1, 0)
    return (x2 - x1) * (y2 - y1)


def iou(
    one: AnyArray, other: AnyArray, one_area: Array, other_area: Array
) -> tuple[Array, Array]:
    """Returns the IoU of boxes that broadcast, 0 where it is 0 / 0, and their union."""
    sides = jnp.minimum(one[..., 2:], other[..., 2:]) - jnp.maximum(
        one[..., :2], other[..., :2]
    )
    shared = jnp.maximum(sides, 0).prod(-1)
    union = one_area + other_area - shared
    return jnp.where(union == 0, 0, shared / jnp.where(union == 0, 1, union)), union


def box_iou(one_xyxy: AnyArray, other_xyxy: AnyArray) -> Float[Array, "n m"]:
    """Returns the intersection over union of each pair of boxes [n, 4] and [m, 4].

    It is 0 for two boxes without an area.

    Raises:
      ValueError: unless both are [n, 4] and of a floating dtype.
    """
    return _pairs(one_xyxy, other_xyxy)[2]


def box_giou(one_xyxy: AnyArray, other_xyxy: AnyArray) -> Float[Array, "n m"]:
    """Returns the generalised IoU of each pair of boxes [n, 4] and [m, 4], in [-1, 1].

    `IoU - (H - U) / H` with the union's area U and that of the smallest box around
    both, H; it has a gradient where the boxes are apart.

    Raises:
      ValueError: unless both are [n, 4] and of a floating dtype.

    Source: Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630.
    """
    return _giou(*_pairs(one_xyxy, other_xyxy))


def paired_giou(one_xyxy: AnyArray, other_xyxy: AnyArray) -> Float[Array, " n"]:
    """Returns the generalised IoU of boxes [n, 4] with those [n, 4] of the same row."""
    for boxes in (one_xyxy, other_xyxy):
        check_rows(boxes, 4, "boxes")
    one, other = jnp.asarray(one_xyxy), jnp.asarray(other_xyxy)
    return _giou(one, other, *iou(one, other, box_area(one), box_area(other)))


def _giou(one, other, overlap, union):
    sides = jnp.maximum(one[..., 2:], other[..., 2:]) - jnp.minimum(
        one[..., :2], other[..., :2]
    )
    hull = sides[..., 0] * sides[..., 1]
    return overlap - jnp.where(hull == 0, 0, (hull - union) / jnp.where(hull, hull, 1))


def _pairs(one, other):
    """Returns both so that they broadcast, the IoU and the union of each pair."""
    check_rows(one, 4, "boxes")
    check_rows(other, 4, "boxes")
    one, other = jnp.asarray(one)[:, None], jnp.asarray(other)[None]
    return one, other, *iou(one, other, box_area(one), box_area(other))


def clip_boxes(boxes_xyxy: AnyArray, size: tuple[int, int]) -> Float[Array, "n 4"]:
    """Returns boxes [n, 4] cut at the sides of an image of `size` (rows, columns)."""
    check_rows(boxes_xyxy, 4, "boxes")
    height, width = size
    most = jnp.asarray((width, height) * 2, boxes_xyxy.dtype)
    return jnp.clip(boxes_xyxy, 0, most[None])


def convert_boxes(
    boxes: AnyArray, from_format: str, to_format: str
) -> Float[Array, "n 4"]:
    """Returns boxes [n, 4], written in another way.

    Args:
      boxes: [n, 4].
      from_format: "xyxy" (corners), "xywh" (a corner and the size) or "cxcywh" (the
        middle and the size).
      to_format: likewise.

    Raises:
      ValueError: for other formats and shapes.
    """
    check_rows(boxes, 4, "boxes")
    for name in (from_format, to_format):
        check(name in FORMATS, f"unknown format {name!r}; there are {FORMATS}")
    first, second = boxes[:, :2], boxes[:, 2:]
    if from_format == "xywh":
        second = first + second
    elif from_format == "cxcywh":
        first, second = first - second / 2, first + second / 2
    if to_format == "xywh":
        second = second - first
    elif to_format == "cxcywh":
        first, second = (first + second) / 2, second - first
    return jnp.concatenate([first, second], axis=1)
