"""Dense convolutions: XLA's own is fast, but for the kernel's gradient."""

import dataclasses
import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from cnnjax.ops._lowerings import _winograd
from cnnjax.ops._lowerings._taps import few_taps, pad
from cnnjax.ops._primitive import Lowering
from cnnjax.ops._spec import DIMENSION_NUMBERS, ConvSpec, zeros


BLOCK_BYTES = 2**21  # What a core's cache holds beside the products' own.


def _usual(x: Array, spec: ConvSpec) -> tuple[Array, ConvSpec]:
    """Pads images beforehand where padding is negative or beyond the kernel's reach.

    XLA's CPU backend (jax 0.10.2) has wrong gradients for these, where it pads by less
    than 0 itself.
    """
    reach = [
        e * (k - 1) for e, k in zip(spec.rhs_dilation, spec.kernel_shape, strict=False)
    ]
    sides = zip(spec.padding, reach, strict=True)
    if all(0 <= padding <= r for side, r in sides for padding in side):
        return x, spec
    x = pad(x, spec)
    none = ((0, 0), (0, 0))
    return x, dataclasses.replace(spec, image_shape=x.shape[1:], padding=none)


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    x, spec = _usual(x, spec)
    return spec.reference(x, kernel)


def _kernel_gradient(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    if _winograd.has_kernel_gradient(spec):
        return _winograd.kernel_gradient(x, out_grad, spec)
    # With small arrays, few features or few columns blocks do not pay. Of few features
    # XLA's own is fast where maps are large, or where they have far more channels and
    # are small.
    *taps, channels, features = spec.kernel_shape
    height, width, _ = spec.out_shape
    by_blocks = (
        isinstance(x.shape[0], int)  # A symbolic batch size cannot be compared.
        and min(x.size, out_grad.size) >= 90_000
        and min(math.prod(taps) * channels, features) >= 16
        and min(height, width) >= 12
        and (features >= 32 or width <= 32)
        and (2 * features >= channels or width >= 16)
        and few_taps(spec)
    )
    way = _kernel_gradient_by_blocks if by_blocks else _kernel_gradient_as_convolution
    return way(x, out_grad, spec)


def _kernel_gradient_as_convolution(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    """A convolution over the batch, in the layout that XLA's CPU backend is fast in.

    Spelled out because XLA leaves it in a slow one inside loops and conditionals.
    """
    x, spec = _usual(x, spec)
    # Trailing rows and columns that the strides never reach.
    padding = tuple(
        (low, (n - 1) * s + e * (k - 1) + 1 - size - low)
        for (low, _), n, s, e, k, size in zip(
            spec.padding,
            spec.out_shape,
            spec.window_strides,
            spec.rhs_dilation,
            spec.kernel_shape,
            spec.image_shape,
            strict=False,
        )
    )
    gradient = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        out_grad.transpose(1, 2, 0, 3),
        window_strides=spec.rhs_dilation,
        padding=padding,
        rhs_dilation=spec.window_strides,
        dimension_numbers=DIMENSION_NUMBERS,
        precision=spec.precision,
    )
    return gradient.transpose(1, 2, 0, 3)


def _kernel_gradient_by_blocks(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    """For each block of rows a matrix product with all taps side by side.

    Strides cut images into phases, side by side as channels, in which each tap moves by
    one pixel. In phases whose rows are joined end to end, and the output's padded to
    their length, each tap sees one run of pixels; the blocks stay in the cache.
    """
    rows, columns, channels, features = spec.kernel_shape
    height, out_width, _ = spec.out_shape
    row_stride, column_stride = spec.window_strides
    row_dilation, column_dilation = spec.rhs_dilation
    width = out_width + column_dilation * (columns - 1) // column_stride
    row_bytes = width * rows * columns * channels * x.dtype.itemsize
    blocks = -(-height * row_bytes // BLOCK_BYTES)
    per_block = -(-height // blocks)
    run, more = per_block * width, blocks * per_block - height
    below = row_dilation * (rows - 1) // row_stride + more + 1
    x = _phases(pad(x, spec), spec.window_strides, (height + below, width))
    x = x.reshape(x.shape[0], -1, x.shape[3])
    out_grad = jnp.pad(out_grad, ((0, 0), (0, more), (0, width - out_width), (0, 0)))
    out_grad = out_grad.reshape(x.shape[0], -1, features)
    # Of each tap, or of neighbours in the same pixel of the phases: where its runs
    # start, its first channel, and the last.
    together = column_stride if column_dilation == 1 else 1
    taps = []
    for i in range(0, row_dilation * rows, row_dilation):
        for j in range(0, columns, together):
            down, row_phase = divmod(i, row_stride)
            right, column_phase = divmod(j * column_dilation, column_stride)
            first = (row_phase * column_stride + column_phase) * channels
            last = first + min(together, columns - j) * channels
            taps.append((down * width + right, first, last))
    reach = max(offset for offset, _, _ in taps)

    def add_block(index, total):
        start = (index // blocks, index % blocks * run, 0)
        seen = lax.dynamic_slice(x, start, (1, run + reach, x.shape[2]))[0]
        seen = jnp.concatenate([seen[i : i + run, a:b] for i, a, b in taps], axis=1)
        grad = lax.dynamic_slice(out_grad, start, (1, run, features))[0]
        # XLA would fuse the transposition into a slower product.
        turned = lax.optimization_barrier(grad.T)
        return total + jnp.matmul(turned, seen, precision=spec.precision)

    start = zeros((features, rows * columns * channels), out_grad)
    total = lax.fori_loop(0, x.shape[0] * blocks, add_block, start)
    return total.T.reshape(spec.kernel_shape)


def _phases(x: Array, strides: tuple[int, ...], shape: tuple[int, int]) -> Array:
    """Cuts or fills images to `shape` pixels, each of all phases' channels in turn."""
    n, height, width, channels = x.shape
    (down, right), (rows, columns) = strides, shape
    more = (rows * down - height, columns * right - width)
    config = [(0, 0, 0), *((0, pixels, 0) for pixels in more), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), config)
    x = x.reshape(n, rows, down, columns, right, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows, columns, -1)


DENSE = Lowering(
    applies=lambda spec: spec.feature_group_count == 1 and spec.lhs_dilation == (1, 1),
    conv=_conv,
    kernel_gradient=_kernel_gradient,
)
LAX = Lowering(
    applies=lambda spec: True, conv=lambda x, kernel, spec: spec.reference(x, kernel)
)
