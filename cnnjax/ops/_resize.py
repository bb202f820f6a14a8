"""Changing the size of images."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax.ops._check import check, check_images, pair
from cnnjax.ops._conv2d import depthwise_conv2d
from cnnjax.ops._named import named
from cnnjax.ops._pool import separable
from cnnjax.ops._spec import AnyArray


def resize_bilinear(
    x: AnyArray, size: int | Sequence[int], align_corners: bool = False
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
      ValueError: if x is not [n, h, w, c], or a size not positive.
    """
    check_images(x)
    size = pair(size, "size")
    return _resize_bilinear(x, size=size, align_corners=bool(align_corners))


@named
def _resize_bilinear(x, *, size, align_corners):
    def weights(old, new):
        place = np.arange(new)
        if align_corners:
            place = place * ((old - 1) / max(new - 1, 1))
        else:
            place = np.clip((place + 0.5) * old / new - 0.5, 0, old - 1)
        # Each pixel's share falls off linearly to its neighbours' centres.
        return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(old)[None]))

    return separable(x, *map(weights, x.shape[1:3], size))


def blur_pool(
    x: AnyArray, strides: int | Sequence[int] = 2, filter_size: int = 3
) -> Array:
    """Smooths images with a binomial filter and keeps every S-th pixel.

    Args:
      x: images [n, h, w, c].
      strides: S, of rows and columns.
      filter_size: pixels of the filter along an axis; 3 is [1, 2, 1] / 4.

    Returns:
      [n, h2, w2, c] with `h2 = floor((h - 1) / S) + 1`; the border is reflected.

    Raises:
      ValueError: if the images are not larger than half the filter.

    Source: Zhang, 2019, https://arxiv.org/abs/1904.11486.
    """
    check_images(x)
    low, high = (filter_size - 1) // 2, filter_size // 2
    check(
        filter_size > 0 and min(x.shape[1:3]) > high,
        f"a filter of {filter_size} pixels does not fit images {x.shape}",
    )
    line = np.poly1d([0.5, 0.5]) ** (filter_size - 1)
    kernel = jnp.asarray(np.outer(line.coeffs, line.coeffs), x.dtype)
    kernel = jnp.broadcast_to(kernel[:, :, None, None], (*kernel.shape, 1, x.shape[3]))
    x = jnp.pad(x, ((0, 0), (low, high), (low, high), (0, 0)), mode="reflect")
    return depthwise_conv2d(x, kernel, strides=strides)
