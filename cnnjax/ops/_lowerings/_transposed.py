"""Transposed convolutions (dilated inputs): a plain one per phase of the output.

Output pixels whose coordinates agree modulo the dilation meet the same taps of the
kernel, and no others meet them: each such phase is a convolution of the undilated
input with every D-th tap, so that no product with an inserted zero is computed.
"""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array

from cnnjax.ops._primitive import Lowering, choose, conv
from cnnjax.ops._spec import ConvSpec


def _phase(x: Array, kernel: Array, spec: ConvSpec, offsets: tuple[int, int]) -> Array:
    """Returns the output pixels [n, ceil(h / D), ceil(w / D), c] from those offsets."""
    firsts, padding = [], []
    for axis, offset in enumerate(offsets):
        dilation, low = spec.lhs_dilation[axis], spec.padding[axis][0]
        first = (low - offset) % dilation  # The first tap that meets a pixel,
        pixel = (offset + first - low) // dilation  # and the pixel that it meets.
        num_taps = len(range(first, spec.kernel_shape[axis], dilation))
        cells = -(-spec.out_shape[axis] // dilation)
        last = pixel + cells - 1 + num_taps - 1
        firsts.append(first)
        padding.append((-pixel, last - (spec.image_shape[axis] - 1)))
    taps = kernel[firsts[0] :: spec.lhs_dilation[0], firsts[1] :: spec.lhs_dilation[1]]
    if taps.size == 0:
        cells = (
            -(-n // d)
            for n, d in zip(spec.out_shape[:2], spec.lhs_dilation, strict=True)
        )
        return jnp.zeros((x.shape[0], *cells, spec.out_shape[2]), x.dtype)
    plain = dataclasses.replace(
        spec, kernel_shape=taps.shape, lhs_dilation=(1, 1), padding=tuple(padding)
    )
    return conv(x, taps, choose(plain))


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    height, width, channels = spec.out_shape
    rows, columns = spec.lhs_dilation
    phases = jnp.stack(
        [
            jnp.stack([_phase(x, kernel, spec, (i, j)) for j in range(columns)], axis=3)
            for i in range(rows)
        ],
        axis=2,
    )
    n, h, _, w, _, _ = phases.shape
    whole = phases.reshape(n, h * rows, w * columns, channels)
    return whole[:, :height, :width]


def _convolutions(spec: ConvSpec) -> int:
    """Returns how many convolutions a phase is made of: one per group of channels."""
    return 1 if spec.kernel_shape[2] == 1 else spec.feature_group_count


# Every convolution takes time to compile: with gradients 4x4 with dilation 2 takes 2 s
# on 2 busy cores and 8x8 with 4 (16 phases) 4 s; 16x16 with 8 took 31 s, and 4x4 with 2
# in 32 groups 34 s (XLA's own: 0.5 s).
MOST_PHASES, MOST_CONVOLUTIONS = 16, 64

TRANSPOSED = Lowering(
    applies=lambda spec: (
        1 < math.prod(spec.lhs_dilation) <= MOST_PHASES
        and math.prod(spec.lhs_dilation) * _convolutions(spec) <= MOST_CONVOLUTIONS
        and spec.window_strides == spec.rhs_dilation == (1, 1)
    ),
    conv=_conv,
)


def mirrored(out_grad: Array, kernel: Array, spec: ConvSpec) -> Array:
    """The gradient of the input, as a convolution with the mirrored kernel.

    Args:
      out_grad: [n, h2, w2, m].
      kernel: [kh, kw, c / groups, m].
      spec: of the convolution whose gradient it is.

    Returns:
      [n, h, w, c].
    """
    rows, columns, channels, _ = spec.kernel_shape
    groups = spec.feature_group_count
    padding = []
    for axis in range(2):
        reach = spec.rhs_dilation[axis] * (spec.kernel_shape[axis] - 1)
        low = reach - spec.padding[axis][0]
        dilated = (spec.out_shape[axis] - 1) * spec.window_strides[axis] + 1
        padding.append((low, spec.image_shape[axis] - dilated + reach - low))
    grouped = kernel[::-1, ::-1].reshape(rows, columns, channels, groups, -1)
    turned = grouped.swapaxes(2, 4).reshape(rows, columns, -1, groups * channels)
    mirror = ConvSpec(
        image_shape=spec.out_shape,
        kernel_shape=turned.shape,
        padding=tuple(padding),
        lhs_dilation=spec.window_strides,
        rhs_dilation=spec.rhs_dilation,
        feature_group_count=groups,
        precision=spec.precision,
        everywhere=spec.everywhere,
    )
    return conv(out_grad, turned, choose(mirror))
