"""Non-maximum suppression in static shapes: compiled once for any number that is kept.

Boxes go from the highest score to the lowest, of equal ones the first comes first. A
box is no candidate if a coordinate is NaN, or if its score is NaN or -inf: so -inf
marks rows that hold no box. Boxes without an area, and infinite ones, overlap nothing.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from cnnjax.ops._boxes import box_area, iou
from cnnjax.ops._check import check, check_rows, integer
from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray


BLOCK = 64  # Candidates that are looked at together.


def nms(
    boxes_xyxy: AnyArray, scores: AnyArray, iou_threshold: float, max_outputs: int
) -> tuple[Int[Array, " k"], Bool[Array, " k"]]:
    """Returns which boxes stay when those that overlap a better one go.

    O(k) memory beyond the sorted boxes, and O(k) time for each box until k are found.

    Args:
      boxes_xyxy: [n, 4].
      scores: [n].
      iou_threshold: a box goes if its IoU with one that stays is greater.
      max_outputs: k, how many can stay.

    Returns:
      Their indices [k] from the best on, -1 after the last, and which of them are
      valid.

    Raises:
      ValueError: for other shapes, and for a threshold outside [0, 1].
    """
    return batched_nms(
        boxes_xyxy,
        scores,
        jnp.zeros(scores.shape, jnp.int32),
        iou_threshold,
        max_outputs,
    )


def batched_nms(
    boxes_xyxy: AnyArray,
    scores: AnyArray,
    classes: AnyArray,
    iou_threshold: float,
    max_outputs: int,
) -> tuple[Int[Array, " k"], Bool[Array, " k"]]:
    """Returns what `nms` does if only boxes of the same class overlap.

    Args:
      boxes_xyxy, scores, iou_threshold, max_outputs: as in `nms`.
      classes: integers [n]; the best of all classes together stay.
    """
    _check(boxes_xyxy, scores)
    check(
        classes.shape == scores.shape and jnp.issubdtype(classes.dtype, jnp.integer),
        f"classes must be integers {scores.shape}, not {classes.dtype} {classes.shape}",
    )
    check(0 <= iou_threshold <= 1, f"iou_threshold must be in [0, 1]: {iou_threshold}")
    return _nms(
        *map(jnp.asarray, (boxes_xyxy, scores, classes)),
        iou_threshold=_not_above(float(iou_threshold)),
        max_outputs=integer(max_outputs, "max_outputs"),
    )


def _check(boxes, scores):
    check_rows(boxes, 4, "boxes")
    check(
        scores.shape == boxes.shape[:1] and jnp.issubdtype(scores.dtype, jnp.floating),
        f"scores must be floats {boxes.shape[:1]}, not {scores.dtype} {scores.shape}",
    )


def _not_above(threshold):
    """Returns the largest float32 not above a double: others compare with doubles."""
    single = np.float32(threshold)
    return float(
        np.nextafter(single, np.float32(-1)) if float(single) > threshold else single
    )


def _candidates(boxes: Array, scores: Array) -> Array:
    """Returns which rows hold a box."""
    return ~jnp.isnan(boxes).any(1) & ~jnp.isnan(scores) & (scores > -jnp.inf)


@named
def _nms(boxes, scores, classes, *, iou_threshold, max_outputs):
    there = _candidates(boxes, scores)
    order = jnp.argsort(-jnp.where(there, scores, -jnp.inf), stable=True)
    count = there.sum()
    pad = (0, max(-len(scores) % BLOCK, BLOCK - len(scores)))
    boxes = jnp.pad(boxes[order], (pad, (0, 0)))
    classes = jnp.pad(classes[order], pad)
    place = jnp.arange(BLOCK)

    def overlaps(one, other):
        (a, of_a), (b, of_b) = one, other
        a, b = a[:, None], b[None]
        shared, _ = iou(a, b, box_area(a), box_area(b))
        return (shared > iou_threshold) & (of_a[:, None] == of_b[None])

    def look(state):
        at, kept, indices, number = state
        block = (
            lax.dynamic_slice_in_dim(boxes, at, BLOCK),
            lax.dynamic_slice_in_dim(classes, at, BLOCK),
        )
        taken = jnp.arange(max_outputs) < number
        free = ~(overlaps(kept, block) & taken[:, None]).any(0) & (at + place < count)
        inside = overlaps(block, block) & (place[:, None] < place[None])
        stays = _greedy(free, inside)
        slot = jnp.where(stays, number + jnp.cumsum(stays) - 1, max_outputs)
        kept = tuple(
            old.at[slot].set(new, mode="drop")
            for old, new in zip(kept, block, strict=True)
        )
        indices = indices.at[slot].set(at + place, mode="drop")
        return at + BLOCK, kept, indices, number + stays.sum()

    def more(state):
        at, _, _, number = state
        return (at < count) & (number < max_outputs)

    kept = (
        jnp.zeros((max_outputs, 4), boxes.dtype),
        jnp.zeros(max_outputs, classes.dtype),
    )
    state = jnp.zeros_like(count), kept, jnp.zeros(max_outputs, order.dtype), count * 0
    _, _, indices, number = lax.while_loop(more, look, state)
    valid = jnp.arange(max_outputs) < number
    return jnp.where(valid, order[indices] if len(order) else -1, -1), valid


def _greedy(free, overlaps):
    """Returns which stay: those that are free and overlap none before that stays.

    Each round is right about one more of them at least, and mostly about all.
    """

    def again(state):
        old, new = state
        return (old != new).any()

    def round_(state):
        _, new = state
        return new, free & ~(overlaps & new[:, None]).any(0)

    return lax.while_loop(again, round_, (~free, free))[1]


def soft_nms(
    boxes_xyxy: AnyArray,
    scores: AnyArray,
    max_outputs: int,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[Int[Array, " k"], Float[Array, " k"], Bool[Array, " k"]]:
    """Returns the best boxes when each lowers the scores of those that it overlaps.

    By `exp(-IoU^2 / sigma)`, the Gaussian form.

    Args:
      boxes_xyxy: [n, 4].
      scores: [n], not negative.
      max_outputs: k, how many are returned.
      sigma: the smaller, the more is lowered.
      score_threshold: what is lowered below it goes.

    Returns:
      Their indices [k], -1 after the last; their lowered scores [k], 0 after the last;
      and which are valid.

    Source: Bodla et al., 2017, https://arxiv.org/abs/1704.04503.
    """
    _check(boxes_xyxy, scores)
    check(sigma > 0, f"sigma must be positive, not {sigma}")
    return _soft_nms(
        *map(jnp.asarray, (boxes_xyxy, scores)),
        max_outputs=integer(max_outputs, "max_outputs"),
        sigma=float(sigma),
        score_threshold=float(score_threshold),
    )


@named
def _soft_nms(boxes, scores, *, max_outputs, sigma, score_threshold):
    if not len(scores):
        none = jnp.zeros(max_outputs)
        return none.astype(jnp.int32) - 1, none.astype(scores.dtype), none > 0
    scores = jnp.where(_candidates(boxes, scores), scores, -jnp.inf)
    areas = box_area(boxes)

    def take(scores, _):
        best = jnp.argmax(scores)
        score = scores[best]
        shared, _ = iou(boxes[best][None], boxes, areas[best], areas)
        # NaN, of what is no candidate or infinite, is no overlap.
        factor = jnp.exp(-jnp.square(jnp.where(shared > 0, shared, 0)) / sigma)
        # Which may be 0, and -inf times 0 is NaN.
        lowered = jnp.where(scores > -jnp.inf, scores * factor, -jnp.inf)
        return lowered.at[best].set(-jnp.inf), (best, score)

    _, (indices, found) = lax.scan(take, scores, None, length=max_outputs)
    valid = found >= score_threshold
    return jnp.where(valid, indices, -1), jnp.where(valid, found, 0), valid
