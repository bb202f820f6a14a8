"""Boxes against the reference's figures, and where those are no numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import load_op

from cnnjax import ops


def test_equals_the_reference():
    golden, _ = load_op("boxes")
    boxes = golden["boxes"]
    iou = ops.box_iou(boxes, boxes[: golden["iou"].shape[1]])
    giou = ops.box_giou(boxes, boxes[: golden["giou"].shape[1]])
    np.testing.assert_allclose(iou, golden["iou"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(giou, golden["giou"], rtol=1e-5, atol=1e-6)
    assert np.array_equal(np.asarray(giou) < 0, golden["giou"] < 0)


@pytest.mark.parametrize("overlap", [ops.box_iou, ops.box_giou])
def test_boxes_without_an_area_overlap_nothing(overlap):
    points = jnp.asarray([[3.0, 3, 3, 3], [5.0, 1, 5, 1]])
    values, gradient = jax.value_and_grad(lambda b: overlap(b, b).sum())(points)
    assert np.isfinite(values) and np.isfinite(gradient).all()
    assert np.diag(overlap(points, points)).tolist() == [0, 0]


def test_generalised_iou_pulls_boxes_together():
    far = jnp.asarray([[0.0, 0, 2, 2]])
    target = jnp.asarray([[8.0, 0, 10, 2]])
    (gradient,) = jax.grad(lambda b: ops.box_giou(b, target).sum())(far)
    assert gradient[2] > 0  # The right side is to move to the right.
    assert ops.box_giou(far, target)[0, 0] == pytest.approx(0 - 12 / 20)


def test_formats_are_those_of_the_same_boxes():
    corners = jnp.asarray([[1.0, 2, 5, 10], [0.0, 0, 3, 1]])
    forms = {
        "xyxy": corners,
        "xywh": [[1, 2, 4, 8], [0, 0, 3, 1]],
        "cxcywh": [[3, 6, 4, 8], [1.5, 0.5, 3, 1]],
    }
    for one, boxes in forms.items():
        for other, expected in forms.items():
            found = ops.convert_boxes(jnp.asarray(boxes, jnp.float32), one, other)
            np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="unknown format 'xxyy'"):
        ops.convert_boxes(corners, "xxyy", "xyxy")


def test_clipped_boxes_are_inside():
    boxes = jnp.asarray([[-3.0, 2, 50, 9], [1.0, -1, 2, 40]])
    found = ops.clip_boxes(boxes, (20, 30))
    np.testing.assert_array_equal(found, [[0, 2, 30, 9], [1, 0, 2, 20]])


def test_areas_are_of_any_boxes():
    assert ops.box_area(jnp.asarray([[[0.0, 0, 2, 3]]])).tolist() == [[6]]


@pytest.mark.parametrize(
    "boxes, message",
    [
        (
            np.zeros((2, 3, 4), np.float32),
            r"must be \[n, 4\], not of shape \(2, 3, 4\)",
        ),
        (np.zeros((2, 5), np.float32), r"must be \[n, 4\]"),
        (np.zeros((2, 4), np.int32), "floating dtype, not int32"),
    ],
)
def test_what_is_no_boxes(boxes, message):
    for function in (ops.box_iou, ops.box_giou):
        with pytest.raises(ValueError, match=message):
            function(boxes, boxes)
    with pytest.raises(ValueError, match=message):
        ops.clip_boxes(boxes, (8, 8))


def test_areas_of_what_is_no_boxes():
    with pytest.raises(ValueError, match=r"boxes must be \[\.\.\., 4\]"):
        ops.box_area(np.zeros((4, 3)))


def test_paired_boxes_are_the_diagonal_of_all_pairs():
    corner = np.random.default_rng(0).uniform(0, 20, (2, 9, 2))
    sides = np.random.default_rng(1).uniform(0, 15, corner.shape)
    one, other = jnp.asarray(np.concatenate([corner, corner + sides], 2), jnp.float32)
    paired = ops.paired_giou(one, other)
    np.testing.assert_allclose(paired, np.diag(ops.box_giou(one, other)), rtol=1e-6)
    assert (paired < 0).any() and (paired > 0).any()
    with pytest.raises(ValueError, match="boxes must be"):
        ops.paired_giou(one, other[:, :3])
