"""What detectors return, and how the best of their boxes are chosen."""

import dataclasses
from collections.abc import Callable, Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from cnnjax import ops


@flax.struct.dataclass
class Detections:
    """What was found in images, the best first; rows after the last are not valid.

    Attributes:
      boxes_xyxy: [n, k, 4], in pixels of the image.
      scores: [n, k], from 0 to 1; 0 where there is none.
      labels: integers [n, k]; 0, the background's, where there is none.
      valid: which rows are boxes [n, k].
      masks: probabilities [n, k, h, w] of the pixels of each box, stretched to one
        size (`paste_masks` puts them in their places); None without masks.
    """

    # But a tree of shapes, shardings or devices' parts has this structure too.
    boxes_xyxy: PyTree
    scores: PyTree
    labels: PyTree
    valid: PyTree
    masks: PyTree = None


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which of the boxes of a network are its detections.

    Attributes:
      score_threshold: a box needs a greater score.
      candidates: how many of the best boxes are looked at: of each map, or of each
        class, as the network says.
      iou_threshold: a box goes if its IoU with a better one of its class is greater.
      max_detections: how many can stay.
    """

    score_threshold: float = 0.05
    candidates: int = 1000
    iou_threshold: float = 0.5
    max_detections: int = 100


def best(
    scores: Float[Array, "n m"], count: int, threshold: float
) -> tuple[Float[Array, "n k"], Int[Array, "n k"]]:
    """Returns the highest scores [n, k] above a threshold, and where they are [n, k].

    There are `count` of them, or all; -inf stands for those that are not above it.
    """
    scores = jnp.where(scores > threshold, scores, -jnp.inf)
    highest, places = jax.lax.top_k(scores, min(count, scores.shape[1]))
    return highest, places


def take(
    rows: Float[Array, "n m c"], places: Int[Array, "n k"]
) -> Float[Array, "n k c"]:
    """Returns the rows of each image at places."""
    return jnp.take_along_axis(rows, places[..., None], axis=1)


def clip(
    boxes_xyxy: Float[Array, "n k 4"], sizes: Int[Array, "n 2"]
) -> Float[Array, "n k 4"]:
    """Returns boxes cut at the sides of their images, of rows and columns `sizes`."""
    limits = sizes[:, [1, 0, 1, 0]].astype(boxes_xyxy.dtype)
    return jnp.clip(boxes_xyxy, 0, limits[:, None])


def suppress(
    boxes_xyxy: Float[Array, "n m 4"],
    scores: Float[Array, "n m"],
    labels: Int[Array, "n m"],
    iou_threshold: float,
    max_outputs: int,
) -> Detections:
    """Returns what stays when boxes that overlap a better one of their class go.

    Args:
      boxes_xyxy: candidates, in no order.
      scores: -inf for what is none.
      labels: classes.
      iou_threshold, max_outputs: as in `ops.batched_nms`.
    """

    def one(boxes, scores, labels):
        kept, valid = ops.batched_nms(boxes, scores, labels, iou_threshold, max_outputs)
        return Detections(
            boxes_xyxy=jnp.where(valid[:, None], boxes[kept], 0),
            scores=jnp.where(valid, scores[kept], 0),
            labels=jnp.where(valid, labels[kept], 0),
            valid=valid,
        )

    return jax.vmap(one)(boxes_xyxy, scores, labels)


def detect(
    maps: Sequence[tuple[Array, Array, np.ndarray]],
    decode: Callable[[Array, Array], Array],
    sizes: Int[Array, "n 2"],
    selection: Selection,
) -> Detections:
    """Returns the detections of a network that looks at every anchor of every map.

    Nothing is detected as background, though some networks have a score for it.

    Args:
      maps: of each, the scores [n, a, classes] and the deltas [n, a, 4] of its anchors,
        and these [a, 4].
      decode: (deltas [k, 4], anchors [k, 4]) -> boxes [k, 4].
      sizes: rows and columns of the images.
      selection: its candidates are of a map.
    """
    found = []
    for scores, deltas, anchors in maps:
        number, _, classes = scores.shape
        highest, at = best(
            scores[:, :, 1:].reshape(number, -1),
            selection.candidates,
            selection.score_threshold,
        )
        anchor, labels = at // (classes - 1), at % (classes - 1) + 1
        chosen = take(deltas, anchor)
        boxes = jax.vmap(decode)(chosen, jnp.asarray(anchors)[anchor])
        found.append((clip(boxes, sizes), highest, labels))
    boxes, scores, labels = (
        jnp.concatenate(parts, axis=1) for parts in zip(*found, strict=True)
    )
    return suppress(
        boxes, scores, labels, selection.iou_threshold, selection.max_detections
    )
