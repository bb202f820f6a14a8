"""Counts of a confusion matrix are exact over any split, and so is what they give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from cnnjax.metrics import ConfusionMatrix


CLASSES = 4
RNG = np.random.default_rng(0)
# The last class is nowhere; the third is predicted only.
LABELS = RNG.integers(0, 2, size=(4, 3, 5)).astype(np.int32)
LABELS[:, 0, 0] = 255
PREDICTIONS = RNG.integers(0, 3, size=(4, 3, 5)).astype(np.int32)
MASK = np.array([True, True, False, True])


@functools.partial(jax.jit, static_argnames=("ignore_index",))
def matrix(labels, predictions, mask=None, ignore_index=255):
    return ConfusionMatrix.of(labels, predictions, CLASSES, mask, ignore_index)


def counted(labels, predictions, counts):
    found = np.zeros((CLASSES, CLASSES), int)
    for place in np.argwhere(counts & (labels != 255)):
        found[labels[(*place,)], predictions[(*place,)]] += 1
    return found


def test_counts():
    found = matrix(LABELS, PREDICTIONS, MASK)
    counts = np.broadcast_to(MASK[:, None, None], LABELS.shape)
    expected = counted(LABELS, PREDICTIONS, counts)
    np.testing.assert_array_equal(found.counts, expected)
    assert found.outside == 0 and found.counts.dtype == jnp.int32
    pixels = RNG.integers(0, 2, size=LABELS.shape).astype(bool)
    found = matrix(LABELS, PREDICTIONS, pixels)
    np.testing.assert_array_equal(found.counts, counted(LABELS, PREDICTIONS, pixels))


def test_figures():
    found = matrix(LABELS, PREDICTIONS)
    counts = LABELS != 255
    assert found.pixel_accuracy == np.mean((LABELS == PREDICTIONS)[counts])
    iou, dice = [], []
    for c in range(CLASSES):
        true, predicted = (LABELS == c) & counts, (PREDICTIONS == c) & counts
        both, either = np.sum(true & predicted), np.sum(true | predicted)
        iou.append(both / either if either else np.nan)
        dice.append(2 * both / (true.sum() + predicted.sum()) if either else np.nan)
    np.testing.assert_allclose(found.iou, iou)
    np.testing.assert_allclose(found.dice, dice)
    assert np.isnan(found.iou).tolist() == [False, False, False, True]
    assert found.compute() == found.mean_iou == np.mean(iou[:3])


def test_any_split_gives_the_same():
    whole = matrix(LABELS, PREDICTIONS, MASK)
    for i in range(1, len(LABELS)):
        parts = matrix(LABELS[:i], PREDICTIONS[:i], MASK[:i])
        parts += matrix(LABELS[i:], PREDICTIONS[i:], MASK[i:])
        np.testing.assert_array_equal(parts.counts, whole.counts)
        assert parts.mean_iou == whole.mean_iou


def test_devices_add_up():
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    spread = PartitionSpec("batch")

    @jax.jit
    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(spread,) * 3, out_specs=PartitionSpec()
    )
    def summed(labels, predictions, mask):
        found = ConfusionMatrix.of(labels, predictions, CLASSES, mask, 255)
        return jax.lax.psum(found + found, "batch")

    whole = matrix(LABELS, PREDICTIONS, MASK)
    twice = summed(LABELS, PREDICTIONS, MASK)
    np.testing.assert_array_equal(twice.counts, 2 * whole.counts)


def test_one_program_over_spread_images():
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    sharding = jax.NamedSharding(mesh, PartitionSpec("batch"))
    spread = jax.device_put((LABELS, PREDICTIONS, MASK), sharding)
    whole = matrix(LABELS, PREDICTIONS, MASK)
    np.testing.assert_array_equal(matrix(*spread).counts, whole.counts)


def test_sums_do_not_overflow():
    many = ConfusionMatrix(jnp.full((1, 1), 2**31 - 1, jnp.int32), jnp.array(0))
    total = many + many + many
    assert total.counts.item() == 3 * (2**31 - 1)
    assert total.pixel_accuracy == 1


def test_nothing_counted_is_nan():
    found = matrix(LABELS, PREDICTIONS, np.zeros(4, bool))
    assert np.isnan([found.pixel_accuracy, found.mean_iou, *found.iou]).all()


@pytest.mark.parametrize("figure", ["pixel_accuracy", "iou", "mean_iou", "dice"])
def test_labels_outside_the_classes_leave_no_figure(figure):
    found = matrix(LABELS, PREDICTIONS, ignore_index=None)
    found += matrix(LABELS, PREDICTIONS - 1)
    below = np.sum((PREDICTIONS == 0) & (LABELS != 255))
    with pytest.raises(
        ValueError, match=f"{4 + below} pixels .* none of the 4 classes"
    ):
        getattr(found, figure)


def test_small_integers_and_a_negative_ignore_index():
    labels = np.where(LABELS == 255, 3, LABELS).astype(np.uint8)
    found = matrix(labels, PREDICTIONS.astype(np.int8), ignore_index=-1)
    assert found.counts.sum() == LABELS.size and found.outside == 0


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"labels of shape \(4, 3, 5\) do not fit"):
        matrix(LABELS, PREDICTIONS[:, :2])
    with pytest.raises(ValueError, match=r"a mask of shape \(3,\) does not fit"):
        matrix(LABELS, PREDICTIONS, MASK[:3])
