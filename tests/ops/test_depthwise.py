"""Depthwise convolutions: what their loops and what is read again come to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from cnnjax import ops
from cnnjax.ops._lowerings import _depthwise


def convolve(conv, x, kernel, strides=(1, 1), dilation=(1, 1)):
    return conv(
        x,
        kernel,
        window_strides=strides,
        padding=((2, 2), (2, 2)),
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


def kernel_gradient(conv, x, kernel, **options):
    def loss(kernel):
        return jnp.sin(convolve(conv, x, kernel, **options)).sum()

    return jax.grad(loss)(kernel)


@pytest.mark.parametrize("n", [1, 8, 11, 12])  # At once: 1, 8, 1, 6.
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": (2, 1), "dilation": (1, 2)},
        {"strides": (3, 2), "dilation": (2, 1)},
    ],
)
def test_kernel_gradients_of_any_number_of_images(n, options):
    random = np.random.RandomState(n)
    x = jnp.array(random.randn(n, 9, 7, 3), jnp.float32)
    kernel = jnp.array(random.randn(3, 5, 1, 3), jnp.float32)
    ours = kernel_gradient(ops.conv_general_dilated, x, kernel, **options)
    theirs = kernel_gradient(lax.conv_general_dilated, x, kernel, **options)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * abs(theirs).max())


def test_kernel_gradient_of_an_unknown_number_of_images():
    kernel = jnp.ones((3, 3, 1, 3))
    gradient = jax.jit(functools.partial(kernel_gradient, ops.conv_general_dilated))
    (n,) = export.symbolic_shape("n")
    shape = jax.ShapeDtypeStruct((n, 6, 6, 3), jnp.float32)
    x = jax.random.normal(jax.random.key(0), (5, 6, 6, 3))
    found = export.export(gradient, platforms=["cpu"])(shape, kernel).call(x, kernel)
    np.testing.assert_allclose(found, gradient(x, kernel), rtol=0, atol=1e-5)


def products_in_loops(size):
    """Returns how many products the loops over numbers spell out, for two readers."""

    def read_twice(x, kernel):
        x = convolve(ops.conv_general_dilated, x, kernel)
        return jnp.sin(x), x @ jnp.ones((32, 8))

    x, kernel = jnp.zeros((2, 16, 16, 32)), jnp.zeros((size, size, 1, 32))
    text = jax.jit(read_twice).lower(x, kernel).compile().as_text()
    parts = [part for part in text.split("\n\n") if "fused" in part[:40]]
    return sum(part.count(" multiply(") for part in parts)


def test_large_kernels_are_applied_once(monkeypatch):
    assert products_in_loops(5) == 25
    assert products_in_loops(3) == 2 * 9
    # If this fails, XLA has come to store it by itself.
    monkeypatch.setattr(_depthwise.stored_p, "bind", lambda x: x)
    assert products_in_loops(5) == 2 * 25


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_kernels_of_half_precision(dtype):
    x = jnp.arange(2 * 8 * 8 * 3).reshape(2, 8, 8, 3) % 7
    kernel = jnp.arange(5 * 5 * 3).reshape(5, 5, 1, 3) % 3
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    found = convolve(ops.conv_general_dilated, x, kernel)
    expected = convolve(lax.conv_general_dilated, x, kernel)
    assert found.dtype == expected.dtype == dtype
    # NumPy has no bfloat16.
    assert jnp.array_equal(found, expected)
