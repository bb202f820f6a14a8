"""Losses by name are the functions, averaged over pixels and added."""

import jax
import numpy as np
import pytest
from references import value_and_grad

from cnnjax import errors, losses


RNG = np.random.default_rng(2)
LOGITS = RNG.normal(size=(2, 3, 4, 3)).astype(np.float32)
LABELS = RNG.integers(0, 3, size=(2, 3, 4)).astype(np.int32)
LABELS[0, 1:] = 255

EXPECTED = {
    "cross_entropy": losses.cross_entropy(LOGITS, LABELS, ignore_index=255),
    "focal": losses.softmax_focal(LOGITS, LABELS, ignore_index=255),
    "dice": losses.dice(LOGITS, LABELS, ignore_index=255),
    "jaccard": losses.jaccard(LOGITS, LABELS, ignore_index=255),
    "tversky": losses.tversky(LOGITS, LABELS, ignore_index=255),
}
EXPECTED = {
    name: value if value.ndim == 1 else np.sum(value, (1, 2)) / np.array([4, 12])
    for name, value in EXPECTED.items()
}


@pytest.mark.parametrize("name", [*EXPECTED, "focal+dice", "cross_entropy + jaccard"])
def test_names_and_sums(name):
    loss = losses.create(name, num_classes=3, ignore_index=255)
    values = jax.jit(loss)(LOGITS, LABELS)
    expected = sum(EXPECTED[part.strip()] for part in name.split("+"))
    assert values.shape == (2,)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_without_an_ignored_label():
    labels = np.where(LABELS == 255, 0, LABELS)
    values = losses.create("cross_entropy", num_classes=3)(LOGITS, labels)
    expected = np.mean(losses.cross_entropy(LOGITS, labels), (1, 2))
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_an_image_of_ignored_pixels_has_no_loss():
    loss = losses.create("focal+dice", num_classes=3, ignore_index=255)
    labels = np.full((2, 3, 4), 255)
    values, grad = value_and_grad(lambda x: loss(x, labels), LOGITS)
    assert not values.any() and not grad.any()


def test_bad_input():
    with pytest.raises(errors.UserError, match="loss 'focl'; did you mean focal"):
        losses.create("dice+focl", num_classes=3)
    with pytest.raises(errors.UserError, match="unknown loss ''"):
        losses.create("dice+", num_classes=3)
    with pytest.raises(errors.UserError, match="2 or more, not 1"):
        losses.create("dice", num_classes=1)
    loss = losses.create("dice", num_classes=4)
    with pytest.raises(ValueError, match=r"\[n, h, w, 4\], not of shape \(2, 3, 4, 3"):
        loss(LOGITS, LABELS)
    loss = losses.create("dice", num_classes=3)
    with pytest.raises(ValueError, match=r"labels of shape \(2, 3\) do not fit"):
        loss(LOGITS, LABELS[..., 0])
