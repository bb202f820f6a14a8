"""Random convolutions: every lowering that applies equals XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from cnnjax import ops


LOWERINGS = [
    "transposed",
    "depthwise",
    "depth_multiplier",
    "grouped",
    "pointwise",
    "patches",
    "few_channels",
    "im2col",
    "dense",
]


@st.composite
def convolutions(draw, name):
    """Draws x, kernel and options of a convolution that the lowering applies to."""
    small = st.integers(1, 3)
    sizes = st.integers(1, 9)
    pairs = st.tuples(small, small)
    groups, per_group, out_per_group = 1, draw(small), draw(small)
    strides, dilation, lhs_dilation = draw(pairs), draw(pairs), (1, 1)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    if name == "im2col":
        out_per_group = 64
    if name == "few_channels":
        out_per_group = 16
    if name == "transposed":
        strides, dilation = (1, 1), (1, 1)
        lhs_dilation = draw(pairs.filter(lambda pair: pair != (1, 1)))
        groups = draw(small)
    elif name == "depthwise":
        groups, per_group, out_per_group = draw(st.integers(2, 5)), 1, 1
    elif name == "depth_multiplier":
        groups, per_group = draw(st.integers(2, 4)), 1
        out_per_group = draw(st.integers(2, 3))
    elif name == "grouped":
        groups = draw(st.integers(2, 4))
    elif name == "pointwise":
        kernel = (1, 1)
    elif name == "patches":
        kernel, dilation = strides, (1, 1)
    padding, size = [], []
    for taps, reach, step in zip(kernel, dilation, lhs_dilation, strict=True):
        span = reach * (taps - 1) + 1
        low, high = draw(st.integers(-1, 4)), draw(st.integers(-1, 4))
        length = draw(sizes)
        short = span - (step * (length - 1) + 1 + low + high)
        padding.append((low, high + max(0, short)))
        size.append(length)
    seed = draw(st.integers(0, 2**16))
    random = np.random.RandomState(seed)
    channels = groups * per_group
    x = random.randn(draw(small), *size, channels)
    k = random.randn(*kernel, per_group, groups * out_per_group)
    dtype = draw(st.sampled_from([jnp.float32, jnp.float32, jnp.bfloat16]))
    return (
        jnp.asarray(x, dtype),
        jnp.asarray(k, dtype),
        {
            "window_strides": strides,
            "padding": padding,
            "lhs_dilation": lhs_dilation,
            "rhs_dilation": dilation,
            "feature_group_count": groups,
            "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
        },
    )


def by_definition(x, kernel, padding, lhs_dilation, **options):
    """Lax's convolution of images that are padded and dilated beforehand.

    Left to itself, lax (0.10.2) has wrong gradients where padding is negative or beyond
    the kernel's reach.
    """
    around = [
        (low, high, step - 1)
        for (low, high), step in zip(padding, lhs_dilation, strict=True)
    ]
    zero = jnp.zeros((), x.dtype)
    padded = lax.pad(x, zero, [(0, 0, 0), *around, (0, 0, 0)])
    return lax.conv_general_dilated(padded, kernel, padding="VALID", **options)


def all_derivatives(conv, x, kernel, options):
    """Returns the output, its forward derivative and both gradients."""

    def function(x, kernel):
        return conv(x, kernel, **options)

    y, pullback = jax.vjp(function, x, kernel)
    _, forward = jax.jvp(function, (x, kernel), (-x, 2 * kernel))
    cotangent = np.random.RandomState(1).randint(-4, 5, y.shape)
    return y, forward, *pullback(jnp.asarray(cotangent, x.dtype))


@pytest.mark.slow
@pytest.mark.parametrize("name", LOWERINGS)
def test_every_lowering_equals_lax(name):
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(convolutions(name))
    def check(drawn):
        x, kernel, options = drawn
        try:
            found = all_derivatives(
                lambda *a, **o: ops.conv_general_dilated(*a, **o, lowering=name),
                x,
                kernel,
                options,
            )
        except ValueError as error:  # For small maps, and for small kernels only.
            assert name in ("im2col", "few_channels")
            assert "does not apply" in str(error)
            return
        exact = [a.astype(jnp.float32) for a in (x, kernel)]
        expected = all_derivatives(by_definition, *exact, options)
        tolerance = 1e-5 if x.dtype == jnp.float32 else 1e-2
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == x.dtype
            scale = tolerance * np.abs(b).max(initial=1e-3)
            np.testing.assert_allclose(a.astype(np.float32), b, rtol=0, atol=scale)

    check()
