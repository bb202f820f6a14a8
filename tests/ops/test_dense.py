"""Kernel gradients are those of XLA, whichever way they are taken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax import ops


def kernel_gradient(convolve, x, kernel, padding, stride, dilation, g):
    function = functools.partial(
        convolve,
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return jax.vjp(lambda kernel: function(x, kernel), kernel)[1](g)[0]


@pytest.mark.parametrize(
    "n, size, channels, features, width, padding, stride, dilation, way",
    [
        # By blocks of rows, whatever is left over.
        (8, 32, 16, 32, 3, 1, 1, 1, "while"),
        (4, 33, 24, 48, 3, 0, 1, 1, "while"),
        (2, 61, 16, 32, 5, 2, 1, 1, "while"),  # Several blocks, the last one not full.
        (2, 113, 4, 32, 7, 3, 2, 1, "while"),  # A stem; no phase is whole.
        (4, 50, 32, 48, 3, -1, 2, 1, "while"),  # Rows and columns that no tap reaches.
        (3, 53, 24, 96, 4, 1, 3, 1, "while"),
        (2, 36, 64, 64, 3, 3, 1, 3, "while"),
        (1, 75, 18, 80, 3, 2, 2, 3, "while"),  # Taps of all phases.
        # By Winograd's filtering.
        (8, 32, 16, 16, 3, 1, 1, 1, "dot_general"),
        (2, 15, 64, 20, 3, 1, 1, 1, "dot_general"),
        (1, 17, 48, 64, 3, 0, 1, 1, "dot_general"),
        (1, 7, 256, 256, 3, 1, 1, 1, "dot_general"),  # Small maps of many channels.
        # As a convolution.
        (8, 64, 16, 16, 5, 2, 1, 1, "convolution"),  # Few features on large maps.
        (8, 14, 128, 32, 5, 2, 1, 1, "convolution"),  # Few of many channels, on small.
        (8, 7, 256, 48, 3, 1, 1, 1, "convolution"),  # Small maps.
        (8, 128, 1, 16, 3, 1, 1, 1, "convolution"),  # Few columns.
        (1, 32, 32, 32, 5, 2, 1, 1, "convolution"),  # Little to do.
        (8, 32, 3, 64, 3, 1, 1, 1, "convolution"),
    ],
)
def test_gradient(n, size, channels, features, width, padding, stride, dilation, way):
    random = np.random.RandomState(0)
    x = jnp.array(random.randn(n, size, size, channels), jnp.float32)
    kernel = jnp.zeros((width, width, channels, features))
    out = (size + 2 * padding - dilation * (width - 1) - 1) // stride + 1
    g = jnp.array(random.randn(n, out, out, features), jnp.float32)
    ours = functools.partial(kernel_gradient, ops.conv_general_dilated)
    options = (padding, stride, dilation)
    compiled = jax.jit(ours, static_argnums=(2, 3, 4)).lower(x, kernel, *options, g)
    operations = ("while", "dot_general", "convolution")
    found = [name for name in operations if f"stablehlo.{name}" in compiled.as_text()]
    assert found[0] == way
    expected = kernel_gradient(lax.conv_general_dilated, x, kernel, *options, g)
    found = compiled.compile()(x, kernel, g)
    np.testing.assert_allclose(found, expected, atol=2e-5 * float(jnp.std(expected)))
