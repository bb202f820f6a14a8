"""Winograd's filtering: any border, and how it rounds."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax import ops
from cnnjax.ops._lowerings import _winograd


DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def assert_close(actual, expected):
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        scale = 1e-5 * np.abs(b).max()
        np.testing.assert_allclose(a, b, rtol=0, atol=scale)


def gradient(conv):
    return jax.grad(lambda x, k: (conv(x, k) ** 2).sum(), argnums=(0, 1))


@pytest.mark.parametrize(
    "lowering, size, padding, channels",
    [
        ("winograd", (12, 20), ((1, 1), (1, 1)), (64, 64)),
        ("winograd", (14, 16), ((0, 0), (1, 1)), (32, 128)),
        ("winograd", (13, 15), ((1, 1), (1, 1)), (128, 32)),
        ("winograd", (12, 13), ((2, 0), (0, 2)), (64, 64)),
        ("winograd", (16, 11), ((0, 1), (2, 2)), (64, 80)),
        ("winograd_4", (12, 20), ((1, 1), (1, 1)), (64, 64)),
        ("winograd_4", (14, 11), ((0, 0), (2, 1)), (32, 40)),
    ],
)
def test_winograd_with_any_border(lowering, size, padding, channels):
    random = np.random.RandomState(0)
    x = jnp.asarray(np.maximum(random.randn(2, *size, channels[0]), 0), jnp.float32)
    kernel = jnp.asarray(random.randn(3, 3, *channels), jnp.float32)

    def both(module, **options):
        def conv(x, k):
            return module.conv_general_dilated(
                x, k, (1, 1), padding, dimension_numbers=DIMENSIONS, **options
            )

        return jax.jit(lambda x, k: (conv(x, k), gradient(conv)(x, k)))

    chosen = str(jax.make_jaxpr(both(ops))(x, kernel))
    assert "lowering=winograd\n" in chosen
    ours = both(ops, lowering=lowering)
    assert_close(ours(x, kernel), both(lax)(x, kernel))


@pytest.mark.parametrize("size", [2, 4])
def test_matrices_compute_correlations(size):
    image, kernel, output = _winograd.matrices(size)
    random = np.random.RandomState(0)
    x, k = random.randn(size + 2), random.randn(3)
    y = output @ ((kernel @ k) * (image @ x))
    np.testing.assert_allclose(y, np.correlate(x, k, "valid"), atol=1e-12)


def test_points_round_less_than_the_usual_ones(monkeypatch):
    random = np.random.RandomState(0)
    x = jnp.asarray(np.maximum(random.randn(2, 16, 16, 256), 0), jnp.float32)
    kernel = jnp.asarray(random.randn(3, 3, 256, 32) / 48, jnp.float32)

    def convolve(x, k, lowering):
        return ops.conv_general_dilated(
            x, k, (1, 1), "SAME", dimension_numbers=DIMENSIONS, lowering=lowering
        )

    with jax.enable_x64(True):
        exact = np.asarray(convolve(np.float64(x), np.float64(kernel), "lax"))

    def error():
        found = np.asarray(
            jax.jit(lambda x, k: convolve(x, k, "winograd_4"))(x, kernel)
        )
        return np.abs(found - exact).max() / np.abs(exact).max()

    ours = error()
    _winograd.matrices.cache_clear()
    monkeypatch.setitem(_winograd.POINTS, 4, (0.0, 1.0, -1.0, 2.0, -2.0))
    usual = error()
    _winograd.matrices.cache_clear()
    assert ours < 3e-6
    assert ours < usual / 2


def training():
    """Returns the compiled gradients of a convolution and what normalises it."""

    def loss(x, kernel):
        y = jax.nn.relu(ops.conv2d(jnp.sin(x), kernel, padding=1))
        return ((y - y.mean((0, 1, 2), keepdims=True)) ** 2).sum()

    x, kernel = jnp.zeros((2, 16, 16, 64)), jnp.zeros((3, 3, 64, 64))
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))
    return gradients.lower(x, kernel).compile().as_text()


def test_what_is_read_again_is_computed_once(monkeypatch):
    stored = training()
    # For each of four rows of points: the images, once for both passes, and the
    # output's gradient in two ways. As they are: images, output, both their gradients.
    assert stored.count(" divide(") == 3 * 4 + 4
    # If this fails, XLA has come to store them by itself.
    monkeypatch.setattr(_winograd, "stored_p", mock.Mock(bind=lambda x: x))
    computed_again = training()
    assert computed_again.count(" multiply(") > 1.3 * stored.count(" multiply(")
