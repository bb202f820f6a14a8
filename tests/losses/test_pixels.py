"""Cross-entropy and focal losses against NumPy's float64, Optax and golden files."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import references
from golden_files import load_op
from references import value_and_grad

from cnnjax import losses


RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 3, 2, 4)).astype(np.float32)
LABELS = RNG.integers(0, 4, size=(2, 3, 2)).astype(np.int32)
LABELS[0, 0], LABELS[1, 2, 1] = 255, 255
IN_CLASSES = np.where(LABELS == 255, 0, LABELS)
WEIGHTS = np.array([0.5, 2.0, 1.0, 3.0], np.float32)
EXTREME = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0, 0, 0]], np.float32)


CASES = {
    "cross_entropy": (losses.cross_entropy, references.cross_entropy, {}, {}),
    "weights": (
        losses.cross_entropy,
        references.cross_entropy,
        {"class_weights": WEIGHTS},
        {"weights": WEIGHTS},
    ),
    "smoothing": (
        losses.cross_entropy,
        references.cross_entropy,
        {"class_weights": WEIGHTS, "label_smoothing": 0.1},
        {"weights": WEIGHTS, "smoothing": 0.1},
    ),
    "focal": (losses.softmax_focal, references.softmax_focal, {}, {}),
    "focal_alpha": (
        losses.softmax_focal,
        references.softmax_focal,
        {"alpha": WEIGHTS, "gamma": 0.5},
        {"alpha": WEIGHTS, "gamma": 0.5},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case):
    loss, reference, options, its_options = CASES[case]
    ours = functools.partial(loss, labels=LABELS, ignore_index=255, **options)
    theirs = functools.partial(
        reference, labels=LABELS, ignore_index=255, **its_options
    )
    values, grad = value_and_grad(ours, LOGITS)
    assert values.shape == LABELS.shape and values.dtype == np.float32
    np.testing.assert_allclose(values, theirs(LOGITS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(grad, references.gradient(theirs, LOGITS), atol=1e-5)
    assert not values[LABELS == 255].any() and not grad[LABELS == 255].any()


def test_shares_of_classes():
    shares = RNG.dirichlet(np.ones(4), size=LABELS.shape).astype(np.float32)
    values = losses.cross_entropy(LOGITS, shares, label_smoothing=0.2)
    smoothed = 0.8 * shares + 0.2 / 4
    expected = -np.sum(smoothed * np.log(references.softmax(LOGITS)), axis=-1)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    one_hot = np.eye(4, dtype=np.float32)[IN_CLASSES]
    np.testing.assert_allclose(
        losses.cross_entropy(LOGITS, one_hot, WEIGHTS),
        losses.cross_entropy(LOGITS, IN_CLASSES, WEIGHTS),
        rtol=1e-6,
    )


def test_a_class_can_be_ignored():
    values = losses.cross_entropy(LOGITS, IN_CLASSES, ignore_index=0)
    whole = losses.cross_entropy(LOGITS, IN_CLASSES)
    np.testing.assert_array_equal(values, np.where(IN_CLASSES == 0, 0, whole))


def test_labels_of_few_bits_and_a_negative_ignore_index():
    few = losses.cross_entropy(LOGITS, IN_CLASSES.astype(np.uint8), ignore_index=-1)
    np.testing.assert_array_equal(few, losses.cross_entropy(LOGITS, IN_CLASSES))


def test_focal_without_focus_is_cross_entropy():
    np.testing.assert_allclose(
        losses.softmax_focal(LOGITS, LABELS, WEIGHTS, 0.0, 255),
        losses.cross_entropy(LOGITS, LABELS, WEIGHTS, 255),
        rtol=1e-6,
    )


def test_sigmoid_focal_is_the_reference_one():
    arrays, options = load_op("sigmoid_focal_loss")
    loss = functools.partial(losses.sigmoid_focal, targets=arrays["targets"], **options)
    values, grad = value_and_grad(loss, arrays["logits"])
    np.testing.assert_allclose(values, arrays["loss"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(grad, arrays["dlogits"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [None, 0.4])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_sigmoid_focal_is_that_of_optax(alpha, gamma):
    targets = RNG.uniform(size=LOGITS.shape).astype(np.float32)
    options = {"alpha": alpha, "gamma": gamma}
    ours = value_and_grad(lambda x: losses.sigmoid_focal(x, targets, **options), LOGITS)
    theirs = value_and_grad(
        lambda x: optax.sigmoid_focal_loss(x, targets, **options), LOGITS
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)


def test_extreme_logits_give_finite_losses_and_gradients():
    labels = np.array([0, 0, 2], np.int32)
    one_hot = np.eye(3, dtype=np.float32)[labels]

    def everything(x):
        smoothed = losses.cross_entropy(x, labels, WEIGHTS[:3], None, 0.1)
        found = [jnp.broadcast_to(smoothed[:, None], x.shape)]
        for gamma in (0.0, 0.5, 2.0):
            focal = losses.softmax_focal(x, labels, gamma=gamma)
            found += [
                jnp.broadcast_to(focal[:, None], x.shape),
                losses.sigmoid_focal(x, one_hot, gamma=gamma),
                losses.sigmoid_focal(x, one_hot / 2, gamma=gamma),
            ]
        return jnp.stack(found)

    values = jax.jit(everything)(EXTREME)
    slopes = jax.jit(jax.jacrev(everything))(EXTREME)
    assert np.isfinite(values).all() and np.isfinite(slopes).all()
    assert values[:, 1].max(axis=1).min() > 1e3  # Of what is wholly wrong,
    np.testing.assert_array_equal(values[1::3, 0], 0)  # and of what is right.


def test_half_precision_is_computed_in_single():
    one_hot = np.eye(4, dtype=np.float32)[IN_CLASSES]

    @jax.jit
    def everything(x):
        return [
            losses.cross_entropy(x, IN_CLASSES),
            losses.softmax_focal(x, IN_CLASSES),
            losses.sigmoid_focal(x, one_hot),
        ]

    half = LOGITS.astype(jnp.bfloat16)
    for found, expected in zip(
        everything(half), everything(half.astype(np.float32)), strict=True
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)


BAD = [
    ("classes from 0 to 3, or 255 to be ignored; there are \\[-1, 4\\]", [4, -1, 255]),
    (r"labels of shape \(2,\) do not fit logits of shape \(3, 4\)", [0, 1]),
    ("labels must be integers here, not bool", [True, False, True]),
]


@pytest.mark.parametrize(("message", "labels"), BAD)
@pytest.mark.parametrize("loss", [losses.cross_entropy, losses.softmax_focal])
def test_bad_labels(loss, message, labels):
    with pytest.raises(ValueError, match=message):
        loss(jnp.zeros((3, 4)), np.array(labels), ignore_index=255)


def test_bad_shapes():
    logits = jnp.zeros((3, 4))
    labels = np.zeros(3, np.int32)
    with pytest.raises(ValueError, match=r"shares of classes \(3, 5\) do not fit"):
        losses.cross_entropy(logits, np.zeros((3, 5), np.float32))
    with pytest.raises(ValueError, match="no label to be ignored"):
        losses.cross_entropy(logits, np.zeros((3, 4), np.float32), ignore_index=0)
    with pytest.raises(ValueError, match=r"weights of shape \(3,\) for 4 classes"):
        losses.cross_entropy(logits, labels, np.ones(3))
    with pytest.raises(ValueError, match="two classes or more"):
        losses.cross_entropy(logits[:, :1], labels)
    with pytest.raises(ValueError, match="floating dtype, not int32"):
        losses.cross_entropy(logits.astype(jnp.int32), labels)
    with pytest.raises(ValueError, match=r"targets of shape \(3,\) do not fit"):
        losses.sigmoid_focal(logits, labels)


def test_compiled_losses_of_labels_outside_the_classes_are_nan():
    labels = jnp.array([4, 1, -1])
    for loss in (losses.cross_entropy, losses.softmax_focal):
        values = jax.jit(loss)(jnp.zeros((3, 4)), labels)
        np.testing.assert_array_equal(np.isnan(values), [True, False, True])


@pytest.mark.torch
def test_cross_entropy_is_that_of_torch():
    import torch

    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS).movedim(-1, 1),
        torch.tensor(LABELS).long(),
        torch.tensor(WEIGHTS),
        ignore_index=255,
        reduction="none",
        label_smoothing=0.1,
    )
    ours = losses.cross_entropy(LOGITS, LABELS, WEIGHTS, 255, 0.1)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5)
