"""Dense convolutions of images, with few channels: multiply-adds, fused into one pass.

XLA's own gathers what a pixel of the output sees, three numbers at a time, and that
takes longer than the products do.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array

from cnnjax.ops._lowerings._dense import DENSE
from cnnjax.ops._lowerings._taps import pad, taps
from cnnjax.ops._primitive import Lowering
from cnnjax.ops._spec import ConvSpec, transpose
from cnnjax.ops._stored import stored_p


MOST_PRODUCTS = 32  # Of a number of the output: 3x3 of three channels, not 7x7.


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    weights = kernel.reshape(-1, spec.kernel_shape[2], 1, 1, 1, spec.kernel_shape[3])
    products = (
        tap[..., channel : channel + 1] * weight
        for tap, of_tap in zip(
            taps(pad(x, spec), spec, spec.out_shape[:2]), weights, strict=True
        )
        for channel, weight in enumerate(of_tap)
    )
    return stored_p.bind(sum(products, start=jnp.zeros((), x.dtype)))


def _input_gradient(out_grad: Array, kernel: Array, spec: ConvSpec) -> Array:
    shape = (out_grad.shape[0], *spec.image_shape)
    return transpose(lambda x: DENSE.conv(x, kernel, spec), shape, out_grad)


FEW_CHANNELS = Lowering(
    applies=lambda spec: (
        1 < math.prod(spec.kernel_shape[:3]) <= MOST_PRODUCTS
        and spec.kernel_shape[3] >= 16  # Which make a vector.
        and spec.feature_group_count == 1
        and spec.lhs_dilation == (1, 1)
    ),
    conv=_conv,
    input_gradient=_input_gradient,
    kernel_gradient=DENSE.kernel_gradient,
)
