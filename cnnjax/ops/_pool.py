"""Pooling, with PyTorch's conventions for borders and ties."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped

from cnnjax.ops._check import (
    Ints,
    Padding,
    check,
    check_floating,
    check_images,
    check_pixels,
    paddings,
    pair,
)
from cnnjax.ops._lowerings._taps import MOST_TAPS, pad, taps
from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray, ConvSpec, accumulator


def max_pool2d(
    x: AnyArray,
    window: Ints,
    strides: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
) -> Shaped[Array, "n h2 w2 c"]:
    """Takes the largest pixel of each window; the first of equal ones has the gradient.

    `y[i, j] = max_{a, b} x[S i + a - P, S j + b - P]`

    >>> rows = [[1, 5, 0, 2], [3, 1, 6, 2], [4, 2, 2, 3], [3, 5, 0, 4]]
    >>> x = jnp.array(rows, jnp.float32)[None, ..., None]
    >>> max_pool2d(x, 2)[0, ..., 0].astype(int).tolist()
    [[5, 6], [5, 4]]

    Args:
      x: images [n, h, w, c].
      window: rows and columns of a window.
      strides: S, of rows and columns (default: the window's).
      padding: P, on every side; never the largest.
      ceil_mode: whether windows may stick out at the end, as long as they begin inside.

    Returns:
      [n, h2, w2, c] with `h2 = floor((h + 2P - window) / S) + 1`, or its ceiling.

    Raises:
      ValueError: if no window fits, the padding is more than half of one, or x is
        of truth values.

    Source: Ranzato et al., 2007, https://doi.org/10.1109/CVPR.2007.383157; borders and
    ties as in PyTorch's `max_pool2d`.
    """
    geometry = _geometry(x, window, strides, padding, ceil_mode)
    check(x.dtype != bool, "truth values have no maximum: convert them to numbers")
    return _max_pool2d(x, **geometry)


def avg_pool2d(
    x: AnyArray,
    window: Ints,
    strides: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Float[Array, "n h2 w2 c"]:
    """Takes the mean of each window.

    `y[i, j] = sum_{a, b} x[S i + a - P, S j + b - P] / (number of pixels counted)`

    >>> x = jnp.array([[1.0, 5], [3, 1]])[None, ..., None]
    >>> avg_pool2d(x, 2).item()
    2.5

    Args:
      x: images [n, h, w, c].
      window, strides, padding, ceil_mode: as in `max_pool2d`; padding counts as 0.
      count_include_pad: whether the sum is divided by the pixels of the window with
        padding (but never what sticks out in ceil mode), or by the image's alone.

    Returns:
      [n, h2, w2, c], with the size of `max_pool2d`.

    Raises:
      ValueError: if no window fits, the padding is more than half of one, or x is of
        integers.

    Source: LeCun et al., 1998, https://doi.org/10.1109/5.726791; borders as in
    PyTorch's `avg_pool2d`.
    """
    geometry = _geometry(x, window, strides, padding, ceil_mode)
    check_floating(x)
    sides = paddings(padding) if count_include_pad else ((0, 0), (0, 0))
    return _avg_pool2d(x, **geometry, counted=sides)


def _geometry(x, window, strides, padding, ceil_mode):
    """Checks the arguments; returns the window, strides and padding in full."""
    check_images(x)
    window = pair(window, "window")
    strides = window if strides is None else pair(strides, "strides")
    sides = []
    for size, length, stride, side in zip(
        x.shape[1:3], window, strides, paddings(padding), strict=True
    ):
        room = size + sum(side) - length
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= size + side[0]:
            count -= 1  # The last window would begin behind the image.
        check(
            max(side) <= length // 2 and size > 0 and count > 0,
            f"window {window} with padding {side} does not fit images {x.shape}",
        )
        sides.append((side[0], (count - 1) * stride + length - size - side[0]))
    return {"window": window, "strides": strides, "padding": tuple(sides)}


@named
def _max_pool2d(x, *, window, strides, padding):
    def on_cpu(x):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return reduce_window(x)
        if math.prod(window) <= MOST_TAPS:
            return _max_of_taps(x, window, strides, padding)
        # The first of the rows' first ones is the first one.
        (rows, columns), (down, right), (high, wide) = window, strides, padding
        x = _max_of_taps(x, (1, columns), (1, right), ((0, 0), wide))
        return _max_of_taps(x, (rows, 1), (down, 1), (high, (0, 0)))

    def reduce_window(x):
        floating = jnp.issubdtype(x.dtype, jnp.floating)
        lowest = -jnp.inf if floating else jnp.iinfo(x.dtype).min
        return _reduce(x, lax.max, lowest, window, strides, padding)

    return lax.platform_dependent(x, cpu=on_cpu, default=reduce_window)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _max_of_taps(x, window, strides, padding):
    return functools.reduce(
        jnp.maximum, _windows(x, window, strides, padding, -jnp.inf)
    )


@_max_of_taps.defjvp
def _max_of_taps_jvp(window, strides, padding, primals, tangents):
    (x,), (x_dot,) = primals, tangents
    largest, *others = _windows(x, window, strides, padding, -jnp.inf)
    # The first place inside the image: padding is never the largest, even beside -inf.
    rows, columns = (
        np.maximum(low - stride * np.arange(count), 0)
        for (low, _), stride, count in zip(
            padding, strides, largest.shape[1:3], strict=True
        )
    )
    first = jnp.asarray(rows[:, None] * window[1] + columns, jnp.int32)
    first = jnp.broadcast_to(first[None, :, :, None], largest.shape)
    for i, tap in enumerate(others, start=1):
        above = (tap > largest) | jnp.isnan(tap)  # As PyTorch: NaN is the largest.
        largest, first = jnp.where(above, tap, largest), jnp.where(above, i, first)
    return largest, _pick(x_dot, first, window, strides, padding)


def _pick(x, first, window, strides, padding):
    """Returns the pixels [n, h2, w2, c] of x that stand at a place of each window.

    Written so that its transpose, the gradient, is a sum of shifted slices rather than
    of scattered pixels: each phase of x (the pixels that agree modulo the strides) is
    shifted to the windows, and not the windows' strided view of x.

    Args:
      x: images [n, h, w, c].
      first: numbers [n, h2, w2, c] of the places, row by row.
      window, strides, padding: of the pooling.
    """
    n, height, width, channels = first.shape
    (rows, columns), (down, right) = window, strides
    # Of each axis: windows that a pixel can be in, beyond its own; cells of pixels.
    reach = -(-rows // down), -(-columns // right)
    cells = [
        -(-(size + sum(side)) // stride)
        for size, side, stride in zip(x.shape[1:3], padding, strides, strict=True)
    ]
    config = [
        (low, count * stride - size - low, 0)
        for size, (low, _), count, stride in zip(
            x.shape[1:3], padding, cells, strides, strict=True
        )
    ]
    zero = jnp.zeros((), x.dtype)
    around = [(0, 0, 0), *((r, r, 0) for r in reach), (0, 0, 0)]
    phases = lax.pad(x, zero, [(0, 0, 0), *config, (0, 0, 0)])
    phases = phases.reshape(n, cells[0], down, cells[1], right, channels)
    first = lax.pad(first, jnp.int32(-1), around)
    total = jnp.zeros(first.shape, x.dtype)
    for i in range(rows):
        for j in range(columns):
            top, left = reach[0] - i // down, reach[1] - j // right
            place = first[:, top : top + cells[0], left : left + cells[1]]
            phase = phases[:, :, i % down, :, j % right]
            picked = jnp.where(place == i * columns + j, phase, zero)
            rest = [
                (start, size - start - count, 0)
                for start, size, count in zip(
                    (top, left), first.shape[1:3], cells, strict=True
                )
            ]
            total += lax.pad(picked, zero, [(0, 0, 0), *rest, (0, 0, 0)])
    return total[:, reach[0] : reach[0] + height, reach[1] : reach[1] + width]


def _windows(x, window, strides, padding, fill):
    """Yields what each place of the window sees: arrays [n, h2, w2, c]."""
    spec = ConvSpec(
        image_shape=x.shape[1:],
        kernel_shape=(*window, 1, x.shape[3]),
        window_strides=strides,
        padding=padding,
    )
    return taps(pad(x, spec, fill), spec, spec.out_shape[:2])


def _reduce(x, operation, initial, window, strides, padding):
    return lax.reduce_window(
        x,
        np.asarray(initial, x.dtype),
        operation,
        (1, *window, 1),
        (1, *strides, 1),
        ((0, 0), *padding, (0, 0)),
    )


@named
def _avg_pool2d(x, *, window, strides, padding, counted):
    dtype = accumulator(x.dtype)
    total = _reduce(x.astype(dtype), lax.add, 0, window, strides, padding)
    rows, columns = (
        [
            min(size + high, start + length) - max(-low, start)
            for start in range(-sides[0], size + sides[1] - length + 1, stride)
        ]
        for size, (low, high), length, stride, sides in zip(
            x.shape[1:3], counted, window, strides, padding, strict=True
        )
    )
    count = np.outer(rows, columns)[None, :, :, None].astype(dtype)
    return (total / count).astype(x.dtype)


def global_avg_pool(x: AnyArray) -> Float[Array, "n c"]:
    """Takes the mean over all pixels.

    `y[c] = sum_{i, j} x[i, j, c] / (h w)`

    >>> global_avg_pool(jnp.ones((2, 3, 3, 5))).shape
    (2, 5)

    Args:
      x: images [n, h, w, c].

    Returns:
      Features [n, c].

    Raises:
      ValueError: if x is not [n, h, w, c], or has no pixels.

    Source: Lin et al., 2013, https://arxiv.org/abs/1312.4400.
    """
    check_pixels(x)
    return _global_avg_pool(x)


@named
def _global_avg_pool(x):
    return jnp.mean(x, axis=(1, 2))


def adaptive_avg_pool2d(x: AnyArray, output_size: Ints) -> Float[Array, "n h2 w2 c"]:
    """Takes means over a given number of windows, as even as can be, as in PyTorch.

    Window i of O covers the rows `floor(i h / O)` to `ceil((i + 1) h / O) - 1`.

    >>> x = jnp.arange(5.0).reshape(1, 1, 5, 1)
    >>> adaptive_avg_pool2d(x, (1, 2)).ravel().tolist()
    [1.0, 3.0]

    Args:
      x: images [n, h, w, c].
      output_size: (h2, w2), or one number for both.

    Returns:
      [n, h2, w2, c].

    Raises:
      ValueError: if x is not [n, h, w, c], has no pixels or is of integers, or a size
        is not positive.

    Source: He et al., 2014, https://arxiv.org/abs/1406.4729, section 2.3; windows as in
    PyTorch's `adaptive_avg_pool2d`.
    """
    check_pixels(x)
    check_floating(x)
    return _adaptive_avg_pool2d(x, output_size=pair(output_size, "output_size"))


MOST_WINDOWS = 32  # Slices are faster, but each takes time to compile.


@named
def _adaptive_avg_pool2d(x, *, output_size):
    y = x.astype(accumulator(x.dtype))
    for axis, count in enumerate(output_size, start=1):
        y = _means(y, axis, count)
    return y.astype(x.dtype)


def _means(x, axis, count):
    """Returns the means of some windows along an axis, as even as can be."""
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if size % count == 0:
        parts = x.reshape(*before, count, size // count, *after)
        return parts.mean(axis + 1)
    start = np.arange(count)[:, None] * size // count
    stop = -(-(np.arange(count)[:, None] + 1) * size // count)
    if count <= MOST_WINDOWS:
        windows = (
            lax.slice_in_dim(x, int(a), int(b), axis=axis)
            for a, b in zip(start[:, 0], stop[:, 0], strict=True)
        )
        return jnp.concatenate([w.mean(axis, keepdims=True) for w in windows], axis)
    place = np.arange(size)[None]
    # Left out rather than multiplied by 0, which would spread NaN and infinity.
    inside = lax.expand_dims(
        (place >= start) & (place < stop), (*range(axis), *range(axis + 2, 5))
    )
    zero = jnp.zeros((), x.dtype)
    total = jnp.where(inside, jnp.expand_dims(x, axis), zero).sum(axis + 1)
    lengths = lax.expand_dims((stop - start)[:, 0], (*range(axis), *range(axis + 1, 4)))
    return total / lengths.astype(x.dtype)
