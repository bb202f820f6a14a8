"""Non-maximum suppression: the reference's sets, and a slow one for what is odd."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import load_op
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax import ops


@functools.partial(jax.jit, static_argnums=(3, 4))
def suppress(boxes, scores, classes, threshold, most):
    return ops.batched_nms(boxes, scores, classes, threshold, most)


def slow(boxes, scores, classes, threshold, most):
    """Box by box, in float32 as the reference."""
    kept = []
    there = ~np.isnan(boxes).any(1) & (scores > -np.inf)
    for i in sorted(np.flatnonzero(there), key=lambda i: (-scores[i], i)):
        a = boxes[i]
        for j in kept:
            b = boxes[j]
            sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
            shared = sides[0] * sides[1]
            area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
            with np.errstate(all="ignore"):
                overlap = np.float32(shared / (area[1] + area[0] - shared))
            if classes[i] == classes[j] and float(overlap) > threshold:
                break
        else:
            kept.append(i)
    return kept[:most]


def test_equals_the_reference():
    golden, options = load_op("boxes")
    boxes, scores, classes = (golden[n] for n in ("boxes", "scores", "classes"))
    threshold = options["iou_threshold"]
    indices, valid = ops.nms(boxes, scores, threshold, len(boxes))
    assert indices[valid].tolist() == golden["nms"].tolist()
    assert set(indices[~valid].tolist()) == {-1}
    indices, valid = suppress(boxes, scores, classes, threshold, len(boxes))
    assert indices[valid].tolist() == golden["batched_nms"].tolist()


coordinates = st.one_of(
    st.integers(0, 6).map(float),
    st.sampled_from([np.nan, np.inf, -np.inf]),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_odd_boxes_and_ties(data):
    """Few values, so that sides, scores and whole boxes coincide."""
    n = 90  # More than a block of them.
    seed = data.draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 12, (n, 2))
    boxes = np.concatenate([corner, corner + rng.integers(-1, 6, (n, 2))], 1)
    boxes = boxes.astype(np.float32)
    for _ in range(data.draw(st.integers(0, 5))):
        row, column = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, 3))
        boxes[row, column] = data.draw(coordinates)
    scores = rng.integers(0, 9, n).astype(np.float32) / 8
    scores[rng.integers(0, n, 3)] = -np.inf
    scores[rng.integers(0, n, 2)] = np.nan
    classes = rng.integers(0, 2, n)
    threshold = data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
    most = data.draw(st.sampled_from([5, n]))
    indices, valid = suppress(boxes, scores, classes, threshold, most)
    with np.errstate(all="ignore"):
        expected = slow(boxes, scores, classes, threshold, most)
    assert indices[valid].tolist() == expected
    assert valid.sum() == len(expected) and not valid[len(expected) :].any()


def test_a_third_is_not_more_than_a_third():
    """The IoU 1 / 3 rounds up to float32: compared with the double it is greater."""
    boxes = jnp.asarray([[0.0, 0, 2, 1], [1.0, 0, 3, 1]])
    scores = jnp.asarray([1.0, 0.5])
    assert float(np.float32(1 / 3)) > 1 / 3
    assert ops.nms(boxes, scores, 1 / 3, 2)[0].tolist() == [0, -1]
    assert ops.nms(boxes, scores, float(np.float32(1 / 3)), 2)[0].tolist() == [0, 1]


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65])
def test_any_number_of_boxes(n):
    boxes = np.arange(n, dtype=np.float32)[:, None] * 10 + np.float32([[0, 0, 5, 5]])
    scores = np.arange(n, dtype=np.float32)
    indices, valid = ops.nms(boxes, scores, 0.5, 64)
    assert indices[valid].tolist() == [*range(n)][::-1][:64]


def test_images_are_mapped_over():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 30, (3, 70, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 20, (3, 70, 2))], 2)
    boxes = boxes.astype(np.float32)
    scores = rng.uniform(size=(3, 70)).astype(np.float32)
    function = functools.partial(ops.nms, iou_threshold=0.4, max_outputs=20)
    indices, valid = jax.vmap(function)(boxes, scores)
    for i in range(3):
        expected = slow(boxes[i], scores[i], np.zeros(70), 0.4, 20)
        assert indices[i][valid[i]].tolist() == expected


def test_soft_suppression_lowers_what_overlaps():
    boxes = jnp.asarray([[0.0, 0, 4, 4], [0.0, 0, 4, 3], [9.0, 9, 12, 12]])
    scores = jnp.asarray([0.9, 0.8, 0.7])
    indices, found, valid = ops.soft_nms(boxes, scores, 4)
    assert indices.tolist() == [0, 2, 1, -1] and valid.tolist() == [True] * 3 + [False]
    lowered = 0.8 * np.exp(-(0.75**2) / 0.5)
    np.testing.assert_allclose(found, [0.9, 0.7, lowered, 0], rtol=1e-6)
    # What is lowered below the threshold goes.
    indices, _, valid = ops.soft_nms(boxes, scores, 4, sigma=0.05)
    assert indices[valid].tolist() == [0, 2]


def test_soft_suppression_of_odd_boxes():
    boxes = jnp.asarray(
        [[0.0, 0, jnp.nan, 4], [0.0, 0, jnp.inf, 4], [1.0, 1, 1, 1], [0.0, 0, 2, 2]]
    )
    indices, found, valid = ops.soft_nms(boxes, jnp.asarray([0.9, 0.5, 0.6, 0.4]), 4)
    assert indices[valid].tolist() == [2, 1, 3] and np.isfinite(found).all()
    indices, _, valid = ops.soft_nms(jnp.zeros((0, 4)), jnp.zeros(0), 2)
    assert not valid.any()
    # What is lowered to nothing hides nothing.
    same = jnp.asarray([[0.0, 0, 9, 9], [0.0, 0, 9, 9], [20.0, 20, 29, 29]])
    for none in (-jnp.inf, jnp.nan):
        scores = jnp.asarray([0.9, none, 0.7])
        indices, found, _ = ops.soft_nms(same, scores, 3, sigma=0.01)
        assert indices.tolist() == [0, 2, -1] and np.isfinite(found).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"scores": np.zeros(3, np.float32)}, r"scores must be floats \(2,\)"),
        ({"scores": np.zeros(2, np.int32)}, "scores must be floats .* not int32"),
        ({"boxes_xyxy": np.zeros((2, 3), np.float32)}, r"boxes must be \[n, 4\]"),
        ({"iou_threshold": 1.5}, r"iou_threshold must be in \[0, 1\]: 1.5"),
        ({"max_outputs": 0}, "max_outputs must be an integer of at least 1, not 0"),
        ({"classes": np.zeros(2, np.float32)}, "classes must be integers"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {
        "boxes_xyxy": np.zeros((2, 4), np.float32),
        "scores": np.zeros(2, np.float32),
        "classes": np.zeros(2, np.int32),
        "iou_threshold": 0.5,
        "max_outputs": 2,
    }
    with pytest.raises(ValueError, match=message):
        ops.batched_nms(**arguments | change)
