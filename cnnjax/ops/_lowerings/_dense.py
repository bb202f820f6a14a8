"""Dense convolutions: XLA's own is fast, but for the kernel's gradient."""

import dataclasses
import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

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
    # With small images, few channels or distant taps blocks do not pay; nor does adding
    # to a gradient that is larger than the cache. Of few features XLA's own is fast
    # where maps are large, or where they have far more channels and are small.
    channels = x.shape[3]
    height, width, features = spec.out_shape
    by_blocks = (
        spec.window_strides == spec.rhs_dilation == (1, 1)
        and min(channels, features) >= 16
        and min(height, width) >= 12
        and (features >= 32 or width <= 32)
        and (2 * features >= channels or width >= 16)
        and isinstance(x.shape[0], int)  # A symbolic batch size cannot be compared.
        and x.size >= 100_000
        and few_taps(spec)
        and math.prod(spec.kernel_shape) * x.dtype.itemsize <= 2 * BLOCK_BYTES
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

    In images whose rows are joined end to end, and the output's padded to their
    length, each tap sees one run of pixels; the blocks stay in the cache.
    """
    rows, columns, channels, features = spec.kernel_shape
    height, out_width, _ = spec.out_shape
    x = pad(x, spec)
    n, _, width, _ = x.shape
    row_bytes = width * rows * columns * channels * x.dtype.itemsize
    blocks = -(-height * row_bytes // BLOCK_BYTES)
    per_block = -(-height // blocks)
    run, more = per_block * width, blocks * per_block - height
    x = jnp.pad(x, ((0, 0), (0, more + 1), (0, 0), (0, 0)))
    x = x.reshape(n, -1, channels)
    out_grad = jnp.pad(out_grad, ((0, 0), (0, more), (0, width - out_width), (0, 0)))
    out_grad = out_grad.reshape(n, -1, features)
    offsets = [i * width + j for i in range(rows) for j in range(columns)]

    def add_block(index, total):
        start = (index // blocks, index % blocks * run, 0)
        seen = lax.dynamic_slice(x, start, (1, run + offsets[-1], channels))[0]
        taps = jnp.concatenate([seen[i : i + run] for i in offsets], axis=1)
        grad = lax.dynamic_slice(out_grad, start, (1, run, features))[0]
        # XLA would fuse the transposition into a slower product.
        turned = lax.optimization_barrier(grad.T)
        return total + jnp.matmul(turned, taps, precision=spec.precision)

    start = zeros((features, rows * columns * channels), out_grad)
    total = lax.fori_loop(0, n * blocks, add_block, start)
    return total.T.reshape(spec.kernel_shape)


DENSE = Lowering(
    applies=lambda spec: spec.feature_group_count == 1 and spec.lhs_dilation == (1, 1),
    conv=_conv,
    kernel_gradient=_kernel_gradient,
)
LAX = Lowering(
    applies=lambda spec: True, conv=lambda x, kernel, spec: spec.reference(x, kernel)
)
