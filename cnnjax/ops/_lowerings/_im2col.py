"""Dense convolutions of small maps: a matrix product with all taps side by side."""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from cnnjax.ops._lowerings import _winograd
from cnnjax.ops._lowerings._taps import few_taps, pad, taps
from cnnjax.ops._primitive import Lowering
from cnnjax.ops._spec import ConvSpec, transpose


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    columns = jnp.concatenate([*taps(pad(x, spec), spec, spec.out_shape[:2])], axis=-1)
    kernel = kernel.reshape(-1, kernel.shape[3])
    return lax.dot_general(
        columns, kernel, (((3,), (0,)), ((), ())), precision=spec.precision
    )


def _kernel_gradient(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    if _winograd.has_kernel_gradient(spec):
        return _winograd.kernel_gradient(x, out_grad, spec)
    return transpose(lambda k: _conv(x, k, spec), spec.kernel_shape, out_grad)


IM2COL = Lowering(
    # With more pixels or fewer features, writing the columns costs more than it saves.
    applies=lambda spec: (
        math.prod(spec.out_shape[:2]) <= 64 <= spec.kernel_shape[3]
        and spec.feature_group_count == 1
        and spec.lhs_dilation == (1, 1)
        and few_taps(spec)
    ),
    conv=_conv,
    kernel_gradient=_kernel_gradient,
)
