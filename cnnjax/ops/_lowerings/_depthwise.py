"""Depthwise convolutions: shifted multiply-adds, which XLA fuses into one pass."""

import dataclasses

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from cnnjax.ops._lowerings._taps import few_taps, pad, taps
from cnnjax.ops._lowerings._transposed import mirrored
from cnnjax.ops._primitive import Lowering, choose, conv
from cnnjax.ops._spec import ConvSpec, zeros


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    weights = kernel.reshape(-1, 1, 1, 1, kernel.shape[3])
    products = (
        tap * weight
        for tap, weight in zip(
            taps(pad(x, spec), spec, spec.out_shape[:2]), weights, strict=True
        )
    )
    return sum(products, start=jnp.zeros((), x.dtype))


def _kernel_gradient(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    """Goes through the output's rows once, with one accumulator per tap and column."""
    x = pad(x, spec)
    height, width, channels = spec.out_shape
    rows, columns, _, _ = spec.kernel_shape
    seen = spec.rhs_dilation[0] * (rows - 1) + 1  # Rows that one row's taps meet.

    def add_row(row, sums):
        above = lax.dynamic_slice_in_dim(x, row * spec.window_strides[0], seen, 1)
        grad = lax.dynamic_slice_in_dim(out_grad, row, 1, 1)
        return [
            total + (tap * grad).sum((0, 1))
            for total, tap in zip(sums, taps(above, spec, (1, width)), strict=True)
        ]

    start = [zeros((width, channels), out_grad)] * (rows * columns)
    sums = lax.fori_loop(0, height, add_row, start)
    return jnp.stack([total.sum(0) for total in sums]).reshape(spec.kernel_shape)


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
