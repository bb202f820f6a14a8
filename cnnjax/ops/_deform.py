"""Deformable convolution through bilinear gather."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.dtypes import canonicalize_dtype
from jaxtyping import Array, Float

from cnnjax.ops._check import (
    Ints,
    Padding,
    check,
    check_bias,
    check_fit,
    check_kernel,
    integer,
    paddings,
    pair,
)
from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray, ConvSpec, accumulator, vary_alike, zeros


def deform_conv2d(
    x: AnyArray,
    offset: AnyArray,
    kernel: AnyArray,
    mask: AnyArray | None = None,
    bias: AnyArray | None = None,
    strides: Ints = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Ints = (1, 1),
    feature_group_count: int = 1,
) -> Float[Array, "n h2 w2 m"]:
    """Convolves with taps that each output pixel moves by offsets of its own.

    `y[p] = bias + sum_t mask[p, t] k[t] x(S p - P + D t + offset[p, t])`

    where `x` between pixels is interpolated bilinearly and is 0 outside. With
    offsets of 0 and no mask it is `conv2d`. Half precision accumulates in float32.

    Args:
      x: images [n, h, w, c].
      offset: [n, h2, w2, 2 * G * kh * kw], in pixels; the channels are (dy, dx) of each
        tap, row by row, of each of the G offset groups, which share the channels
        evenly.
      kernel: [kh, kw, c / feature_group_count, m].
      mask: factors [n, h2, w2, G * kh * kw] (version 2), or None (version 1).
      bias: [m].
      strides, padding, dilation, feature_group_count: as in `conv2d`.

    Returns:
      [n, h2, w2, m].

    Raises:
      ValueError: if the shapes, or the dtypes of x and kernel, do not fit each other.

    Source: Dai et al., 2017, https://arxiv.org/abs/1703.06211, and Zhu et al., 2018,
    https://arxiv.org/abs/1811.11168.
    """
    groups = integer(feature_group_count, "feature_group_count")
    shapes = f"images {x.shape}, kernel {kernel.shape} and offset {offset.shape}"
    check_kernel(x, kernel, groups, shapes)
    check_bias(bias, kernel.shape[3], shapes)
    check(
        jnp.issubdtype(x.dtype, jnp.floating)
        and canonicalize_dtype(x.dtype) == canonicalize_dtype(kernel.dtype),
        f"images {x.dtype} and kernel {kernel.dtype} must be of one floating dtype",
    )
    spaced = pair(dilation, "dilation")
    spec = ConvSpec(
        image_shape=x.shape[1:],
        kernel_shape=kernel.shape,
        window_strides=pair(strides, "strides"),
        padding=paddings(padding),
        rhs_dilation=spaced,
        feature_group_count=groups,
    )
    check_fit(x, kernel, spaced, spec.padding, shapes)
    taps = kernel.shape[0] * kernel.shape[1]
    out_shape = (x.shape[0], *spec.out_shape[:2])
    check(
        offset.ndim == 4
        and offset.shape[:3] == out_shape
        and offset.shape[3] > 0
        and offset.shape[3] % (2 * taps) == 0
        and x.shape[3] % (offset.shape[3] // (2 * taps)) == 0,
        f"the offset must be [{', '.join(map(str, out_shape))}, 2 * G * {taps}] with G "
        f"groups that divide the channels: {shapes}",
    )
    offset_groups = offset.shape[3] // (2 * taps)
    check(
        mask is None or mask.shape == (*out_shape, offset_groups * taps),
        f"the mask must be {(*out_shape, offset_groups * taps)}, not "
        f"{getattr(mask, 'shape', None)}: {shapes}",
    )
    return _deform_conv2d(
        x,
        offset,
        kernel,
        mask,
        bias,
        strides=spec.window_strides,
        padding=spec.padding,
        dilation=spec.rhs_dilation,
        feature_group_count=groups,
        offset_group_count=offset_groups,
    )


@named
def _deform_conv2d(
    x,
    offset,
    kernel,
    mask,
    bias,
    *,
    strides,
    padding,
    dilation,
    feature_group_count,
    offset_group_count,
):
    n, height, width, _ = offset.shape
    rows, columns, channels, features = kernel.shape
    groups = feature_group_count
    place, summed = accumulator(offset.dtype), accumulator(x.dtype)
    offset = offset.astype(place)
    per_group = x.shape[3] // offset_group_count
    images = x.reshape(n, x.shape[1] * x.shape[2], offset_group_count, per_group)
    top = np.arange(height) * strides[0] - padding[0][0]
    left = np.arange(width) * strides[1] - padding[1][0]
    left = left[:, None] + np.arange(columns)[None] * dilation[1]
    top, left = top.astype(place), left.astype(place)

    def by_row(taps, *last):  # [kh, n, h2, w2, G, kw, *last]
        shape = (n, height, width, offset_group_count, rows, columns, *last)
        return jnp.moveaxis(taps.reshape(shape), 4, 0)

    # One row of taps at a time, and again in the backward pass: the pixels that it
    # meets are all that is ever held of the kernel-sized blow-up of the images.
    @jax.checkpoint
    def add_row(total, row):
        offset, mask, kernel, down = row
        y = offset[..., 0] + top[None, :, None, None, None] + down
        x_ = offset[..., 1] + left[None, None, :, None]
        seen = _interpolate(images, y, x_, size=x.shape[1:3])
        if mask is not None:
            seen = seen * mask.astype(summed)[..., None]
        # The channels of the offset groups in turn are those of the feature groups.
        seen = seen.astype(x.dtype).swapaxes(3, 4)
        seen = seen.reshape(n, height, width, columns, groups, channels)
        kernel = kernel.reshape(columns, channels, groups, features // groups)
        added = jnp.einsum(
            "nhwkgc,kcgm->nhwgm", seen, kernel, preferred_element_type=summed
        )
        return total + added, None

    shape = (n, height, width, groups, features // groups)
    total = zeros(shape, x).astype(summed)
    for array in filter(lambda array: array is not None, (offset, kernel, mask)):
        total, _ = vary_alike(total, array)
    table = by_row(offset, 2), None if mask is None else by_row(mask), kernel
    down = jnp.arange(rows, dtype=offset.dtype) * dilation[0]
    total, _ = lax.scan(add_row, total, (*table, down))
    y = total.reshape(n, height, width, features).astype(x.dtype)
    return y if bias is None else y + bias[None, None, None]


@named
def _interpolate(images, y, x, *, size):
    """Returns images [n, h * w, G, c] at points [n, h2, w2, G, k].

    They are 0 outside the size, and NaN at points that are NaN.
    """
    height, width = size
    dtype = accumulator(images.dtype)
    top, left = jnp.floor(y), jnp.floor(x)
    total = 0.0
    for row, row_weight in ((top, top + 1 - y), (top + 1, y - top)):
        for column, column_weight in ((left, left + 1 - x), (left + 1, x - left)):
            outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
            weight = jnp.where(outside, 0, row_weight * column_weight)
            seen = _take(images, _index(row, height) * width + _index(column, width))
            total += seen.astype(dtype) * weight.astype(dtype)[..., None]
    return total


def _index(place, size):
    """Returns the nearest index inside the size; 0 for NaN."""
    place = jnp.minimum(jnp.where(place > 0, place, 0), size - 1)
    return place.astype(jnp.int32)


def _take(images, index):
    """Returns pixels [n, h2, w2, G, k, c] of images [n, h * w, G, c] by index."""

    def of_group(pixels, index):  # [h * w, c], [h2, w2, k]
        return pixels.at[index].get(mode="promise_in_bounds")

    of_image = jax.vmap(of_group, in_axes=(1, 2), out_axes=2)
    return jax.vmap(of_image)(images, index)
