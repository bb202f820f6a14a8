"""What each tap of a kernel sees of an image."""

import math
from collections.abc import Iterator

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from cnnjax.ops._spec import ConvSpec


# Every tap that is spelled out takes time to compile: with gradients a depthwise 7x7
# takes 5 s on 2 busy cores, 13x13 took 23 s and 31x31 132 s (XLA's own: 1 s).
MOST_TAPS = 49


def few_taps(spec: ConvSpec) -> bool:
    """Whether the kernel has few enough taps to spell each of them out."""
    return math.prod(spec.kernel_shape[:2]) <= MOST_TAPS


def pad(x: Array, spec: ConvSpec, fill: float = 0) -> Array:
    """Pads images [n, h, w, c]; negative padding crops."""
    config = [(0, 0, 0), *((low, high, 0) for low, high in spec.padding), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(fill, x.dtype), config)


def taps(padded: Array, spec: ConvSpec, out_shape: tuple[int, int]) -> Iterator[Array]:
    """Yields for each tap, row by row, the [n, *out_shape, c] pixels that it meets.

    Args:
      padded: images with the padding around them.
      spec: of the convolution; its strides and its kernel's size and dilation count.
      out_shape: (h, w) of the output.
    """
    batch_size, _, _, channels = padded.shape
    (height, width), (row_stride, column_stride) = out_shape, spec.window_strides
    for i in range(spec.kernel_shape[0]):
        for j in range(spec.kernel_shape[1]):
            top, left = i * spec.rhs_dilation[0], j * spec.rhs_dilation[1]
            bottom = top + (height - 1) * row_stride + 1
            right = left + (width - 1) * column_stride + 1
            yield lax.slice(
                padded,
                (0, top, left, 0),
                (batch_size, bottom, right, channels),
                (1, row_stride, column_stride, 1),
            )
