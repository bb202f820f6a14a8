"""Overlaps of regions against NumPy's float64; what is absent does not count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import references
from references import value_and_grad

from cnnjax import losses


RNG = np.random.default_rng(1)
LOGITS = RNG.normal(size=(2, 3, 4, 4)).astype(np.float32)
# The last class is nowhere, the third only in the first image.
LABELS = RNG.integers(0, 2, size=(2, 3, 4)).astype(np.int32)
LABELS[0, 1], LABELS[:, 2, 2:] = 2, 255

LOSSES = {
    "dice": (losses.dice, (0.5, 0.5)),
    "jaccard": (losses.jaccard, (1.0, 1.0)),
    "tversky": (losses.tversky, (0.3, 0.7)),
    "weighted": (
        functools.partial(losses.tversky, alpha=0.9, beta=0.2),
        (0.9, 0.2),
    ),
}


def expected(logits, labels, shares, batch=False):
    one = functools.partial(
        references.tversky, alpha=shares[0], beta=shares[1], ignore_index=255
    )
    if batch:
        return one(logits, labels)
    return np.array([one(x, y) for x, y in zip(logits, labels, strict=True)])


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients(name, channels, batch):
    loss, shares = LOSSES[name]
    logits = LOGITS[..., :channels]
    labels = LABELS if channels > 1 else np.where(LABELS == 2, 1, LABELS)
    values, grad = value_and_grad(
        lambda x: loss(x, labels, ignore_index=255, batch=batch), logits
    )
    reference = functools.partial(expected, labels=labels, shares=shares, batch=batch)
    assert values.shape == (() if batch else (2,)) and values.dtype == np.float32
    np.testing.assert_allclose(values, reference(logits), rtol=1e-5)
    np.testing.assert_allclose(grad, references.gradient(reference, logits), atol=1e-5)
    assert not grad[labels == 255].any()


def test_dice_is_the_formula_with_its_epsilon():
    labels = np.where(LABELS[..., :2] == 0, 0, 1)
    logits = LOGITS[:, :, :2, :1]
    p, g = 1 / (1 + np.exp(-logits[..., 0])), labels
    formula = 1 - 2 * np.sum(p * g, (1, 2)) / (np.sum(p + g, (1, 2)) + 3.0)
    ours = losses.dice(logits, labels, epsilon=3.0)
    np.testing.assert_allclose(ours, formula, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_extremes(name):
    loss, _ = LOSSES[name]
    one_hot = np.eye(4)[np.where(LABELS == 255, 0, LABELS)]
    for sign, least, most in ((1, 0, 1e-5), (-1, 0.99, 1)):
        logits = (sign * 1e4 * (2 * one_hot - 1)).astype(np.float32)
        values, grad = value_and_grad(
            lambda x: loss(x, LABELS, ignore_index=255), logits
        )
        assert np.isfinite(grad).all()
        if name != "weighted" or sign > 0:  # The wrong ones are shared out there.
            assert values.min() >= least - 1e-6 and values.max() <= most


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("batch", [False, True])
def test_nothing_in_the_truth_is_no_loss(channels, batch):
    nothing = np.full((2, 3, 4), 255 if channels > 1 else 0, np.int32)
    values, grad = value_and_grad(
        lambda x: losses.dice(x, nothing, ignore_index=255, batch=batch),
        LOGITS[..., :channels],
    )
    assert not values.any() and not grad.any()


def test_half_precision_is_computed_in_single():
    half = np.tile(LOGITS, (1, 30, 30, 1)).astype(jnp.bfloat16)
    labels = np.tile(LABELS, (1, 30, 30))
    loss = jax.jit(lambda x: losses.dice(x, labels, ignore_index=255))
    values = loss(half)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, loss(half.astype(np.float32)), rtol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match=r"classes from 0 to 1; there are \[2\]"):
        losses.dice(jnp.zeros((1, 2, 2, 1)), np.full((1, 2, 2), 2))
    with pytest.raises(ValueError, match=r"labels of shape \(1, 4, 4\) do not fit"):
        losses.jaccard(jnp.zeros((1, 2, 2, 3)), np.zeros((1, 4, 4), np.int32))
    with pytest.raises(ValueError, match=r"must be \[n, ..., classes\]"):
        losses.tversky(jnp.zeros((4, 3)), np.zeros(4, np.int32))


@pytest.mark.parametrize("batch", [False, True])
def test_compiled_losses_of_labels_outside_the_classes_are_nan(batch):
    labels = jnp.zeros((2, 3, 4), jnp.int32).at[0, 0, 0].set(4)
    values = jax.jit(functools.partial(losses.dice, batch=batch))(LOGITS, labels)
    assert np.isnan(values).tolist() == (True if batch else [True, False])
