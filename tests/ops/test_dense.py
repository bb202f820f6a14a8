"""Kernel gradients by blocks of rows are those of XLA, whatever is left over."""

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
    "n, size, channels, features, width, padding, stride, dilation, by_blocks",
    [
        (8, 32, 16, 16, 3, 1, 1, 1, True),
        (4, 33, 32, 48, 3, 0, 1, 1, True),
        (2, 61, 16, 32, 5, 2, 1, 1, True),  # Several blocks, the last one not full.
        (2, 113, 4, 32, 7, 3, 2, 1, True),  # A stem; no phase is whole.
        (4, 50, 32, 48, 3, -1, 2, 1, True),  # Rows and columns that no tap reaches.
        (3, 53, 24, 96, 4, 1, 3, 1, True),
        (2, 36, 64, 64, 3, 3, 1, 3, True),
        (1, 75, 18, 80, 3, 2, 2, 3, True),  # Taps of all phases.
        (8, 64, 16, 16, 3, 1, 1, 1, False),  # Few features on large maps.
        (8, 14, 128, 32, 3, 1, 1, 1, False),  # Few of many channels on small ones.
        (8, 8, 256, 64, 3, 1, 1, 1, False),  # Small maps.
        (8, 128, 1, 16, 3, 1, 1, 1, False),  # Few columns.
        (1, 32, 32, 32, 3, 1, 1, 1, False),  # Little to do.
        (8, 32, 3, 64, 3, 1, 1, 1, False),
    ],
)
def test_gradient(
    n, size, channels, features, width, padding, stride, dilation, by_blocks
):
    random = np.random.RandomState(0)
    x = jnp.array(random.randn(n, size, size, channels), jnp.float32)
    kernel = jnp.zeros((width, width, channels, features))
    out = (size + 2 * padding - dilation * (width - 1) - 1) // stride + 1
    g = jnp.array(random.randn(n, out, out, features), jnp.float32)
    ours = functools.partial(kernel_gradient, ops.conv_general_dilated)
    options = (padding, stride, dilation)
    compiled = jax.jit(ours, static_argnums=(2, 3, 4)).lower(x, kernel, *options, g)
    assert ("stablehlo.while" in compiled.as_text()) == by_blocks
    expected = kernel_gradient(lax.conv_general_dilated, x, kernel, *options, g)
    found = compiled.compile()(x, kernel, g)
    np.testing.assert_allclose(found, expected, atol=2e-5 * float(jnp.std(expected)))
