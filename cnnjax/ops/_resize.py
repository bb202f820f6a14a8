"""Changing the size of images."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from cnnjax.ops._check import (
    Ints,
    check,
    check_floating,
    check_images,
    check_pixels,
    integer,
    pair,
)
from cnnjax.ops._conv2d import depthwise_conv2d
from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray, accumulator


def resize_bilinear(
    x: AnyArray, size: Ints, align_corners: bool = False
) -> Float[Array, "n h2 w2 c"]:
    """Resizes images by linear interpolation along each axis, as PyTorch.

    Output row i lies at row `(i + 1/2) h / h2 - 1/2` of the input, clipped at the
    border; with `align_corners` at `i (h - 1) / (h2 - 1)`. There is no antialiasing.

    >>> x = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    >>> resize_bilinear(x, (1, 4)).ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]

    Args:
      x: images [n, h, w, c].
      size: (h2, w2), or one number for both.
      align_corners: whether the centres of the corner pixels stay in place, rather
        than the image's corners.

    Returns:
      [n, h2, w2, c].

    Raises:
      ValueError: if x is not [n, h, w, c], has no pixels or is of integers, or a size
        is not positive.

    Source: PyTorch's `interpolate` with mode "bilinear" and no antialiasing.
    """
    check_pixels(x)
    check_floating(x)
    size = pair(size, "size")
    return _resize_bilinear(x, size=size, align_corners=bool(align_corners))


MOST_TIMES = 16  # What is spelled out takes time to compile.


@named
def _resize_bilinear(x, *, size, align_corners):
    y = x.astype(accumulator(x.dtype))
    for axis, new in enumerate(size, start=1):
        y = _interpolate(y, axis, new, align_corners)
    return y.astype(x.dtype)


def _interpolate(x, axis, new, align_corners):
    """Returns x with another size of one axis."""
    old, place = x.shape[axis], np.arange(new)
    if new % old == 0 and new // old <= MOST_TIMES and not align_corners:
        return _multiply(x, axis, new // old)
    if align_corners:
        place = place * ((old - 1) / max(new - 1, 1))
    else:
        place = np.clip((place + 0.5) * old / new - 0.5, 0, old - 1)
    low, high = (
        np.minimum(f(place), old - 1).astype(np.int32) for f in (np.floor, np.ceil)
    )
    share = lax.expand_dims(place - low, [a for a in range(4) if a != axis])
    share = share.astype(x.dtype)
    before, after = (jnp.take(x, i, axis=axis, mode="clip") for i in (low, high))
    return before * (1 - share) + after * share


def _multiply(x, axis, factor):
    """Returns x with an axis that many times as long.

    New pixels lie between an old one and that before it, or it and that after it.
    Each is spelled out: the gradient of a look-up is a scatter, which takes long.
    """
    ends = [(1, 1) if a == axis else (0, 0) for a in range(4)]
    padded = jnp.pad(x, ends, mode="edge")
    before, here, after = (
        lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(3)
    )
    parts = []
    for place in ((np.arange(factor) + 0.5) / factor - 0.5).tolist():
        other = before if place < 0 else after
        between = here * (1 - abs(place)) + other * abs(place)
        parts.append(between if place else here)  # 0 times NaN is NaN.
    shape = (*x.shape[:axis], factor * x.shape[axis], *x.shape[axis + 1 :])
    return jnp.stack(parts, axis=axis + 1).reshape(shape)


def blur_pool(x: AnyArray, strides: Ints = 2, filter_size: int = 3) -> Array:
    """Smooths images with a binomial filter and keeps every S-th pixel.

    `y[i, j] = sum_{a, b} x[S i + a - (K - 1) // 2, S j + b - (K - 1) // 2] f[a] f[b]`
    with `f[a] = binomial(K - 1, a) / 2^(K - 1)`.

    Args:
      x: images [n, h, w, c].
      strides: S, of rows and columns.
      filter_size: K, pixels of the filter along an axis; 3 is [1, 2, 1] / 4.

    Returns:
      [n, h2, w2, c] with `h2 = floor((h - 1) / S) + 1`; the border is reflected.

    Raises:
      ValueError: if the images are not larger than half the filter, or of integers.

    Source: Zhang, 2019, https://arxiv.org/abs/1904.11486.
    """
    check_images(x)
    check_floating(x)
    filter_size = integer(filter_size, "filter_size")
    check(
        min(x.shape[1:3]) > filter_size // 2,
        f"a filter of {filter_size} pixels does not fit images {x.shape}",
    )
    return _blur_pool(x, strides=pair(strides, "strides"), filter_size=filter_size)


@named
def _blur_pool(x, *, strides, filter_size):
    low, high = (filter_size - 1) // 2, filter_size // 2
    line = np.poly1d([0.5, 0.5]) ** (filter_size - 1)
    kernel = jnp.asarray(np.outer(line.coeffs, line.coeffs), x.dtype)
    kernel = jnp.broadcast_to(kernel[:, :, None, None], (*kernel.shape, 1, x.shape[3]))
    x = jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0)), mode="reflect")
    return depthwise_conv2d(x, kernel, strides=strides)
