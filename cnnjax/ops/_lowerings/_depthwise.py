"""Depthwise convolutions: shifted multiply-adds, which XLA fuses into one pass."""

import dataclasses

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from cnnjax.ops._lowerings._taps import few_taps, pad, taps
from cnnjax.ops._lowerings._transposed import mirrored
from cnnjax.ops._primitive import Lowering, choose, conv
from cnnjax.ops._spec import ConvSpec, zeros
from cnnjax.ops._stored import stored_p


MOST_IMAGES = 8  # That a step of a kernel's gradient sees.


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    weights = kernel.reshape(-1, 1, 1, 1, kernel.shape[3])
    products = (
        tap * weight
        for tap, weight in zip(
            taps(pad(x, spec), spec, spec.out_shape[:2]), weights, strict=True
        )
    )
    y = sum(products, start=jnp.zeros((), x.dtype))
    # XLA convolves again for each reader, and a normalisation has three. With few taps
    # that is faster than to read again (3x3; of 7x7 it is slower).
    return y if len(weights) <= 9 else stored_p.bind(y)


def _kernel_gradient(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    """Goes through the output's rows once, some images at a time.

    One sum per tap and column stays in the cache. Images are added up one by one: XLA
    fuses a reduction neither with what it reduces nor with other ones. What a step
    sees is stored, since a read from where the loop's counter says is a slow one.
    """
    n, channels = x.shape[0], x.shape[3]
    height, width, _ = spec.out_shape
    rows, columns, _, _ = spec.kernel_shape
    row_stride, column_stride = spec.window_strides
    row_dilation, column_dilation = spec.rhs_dilation
    seen = row_dilation * (rows - 1) + 1  # Rows that one row of the output meets.
    reach = column_stride * (width - 1) + 1
    at_once = next(k for k in range(MOST_IMAGES, 0, -1) if n % k == 0)
    x = pad(x, spec)

    def add_row(index, sums):
        first, row = index // height * at_once, index % height
        start = (first, row * row_stride, 0, 0)
        above = lax.dynamic_slice(x, start, (at_once, seen, x.shape[2], channels))
        above = stored_p.bind(above[:, ::row_dilation])
        start, size = (first, row, 0, 0), (at_once, 1, width, channels)
        grad = stored_p.bind(lax.dynamic_slice(out_grad, start, size))
        for j, total in enumerate(sums):
            left = j * column_dilation
            met = above[:, :, left : left + reach : column_stride]
            sums[j] = sum((met[i] * grad[i] for i in range(at_once)), start=total)
        return sums

    start = [zeros((rows, width, channels), out_grad)] * columns
    sums = lax.fori_loop(0, n // at_once * height, add_row, start)
    return jnp.stack([total.sum(1) for total in sums], 1).reshape(spec.kernel_shape)


DEPTHWISE = Lowering(
    applies=lambda spec: (
        spec.feature_group_count == spec.image_shape[2] == spec.kernel_shape[3] > 1
        and spec.lhs_dilation == (1, 1)
        and few_taps(spec)
    ),
    conv=_conv,
    input_gradient=mirrored,
    kernel_gradient=_kernel_gradient,
)


def _conv_of_copies(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    features = spec.kernel_shape[3]
    plain = dataclasses.replace(
        spec,
        image_shape=(*spec.image_shape[:2], features),
        feature_group_count=features,
    )
    copies = jnp.repeat(x, features // spec.image_shape[2], axis=3)
    return conv(copies, kernel, choose(plain))


DEPTH_MULTIPLIER = Lowering(
    applies=lambda spec: (
        spec.kernel_shape[3] > spec.feature_group_count == spec.image_shape[2] > 1
        and spec.lhs_dilation == (1, 1)
        and few_taps(spec)
    ),
    conv=_conv_of_copies,
)
