"""1x1 convolutions and convolutions of disjoint patches: one matrix product."""

from jax import lax
from jaxtyping import Array

from cnnjax.ops._lowerings._taps import pad
from cnnjax.ops._primitive import Lowering
from cnnjax.ops._spec import ConvSpec


def _pointwise(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    rows, columns = spec.window_strides
    x = pad(x, spec)[:, ::rows, ::columns]
    return lax.dot_general(
        x, kernel[0, 0], (((3,), (0,)), ((), ())), precision=spec.precision
    )


def _kernel_gradient(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    rows, columns = spec.window_strides
    x = pad(x, spec)[:, ::rows, ::columns].reshape(-1, x.shape[3])
    out_grad = out_grad.reshape(-1, out_grad.shape[3])
    if x.shape[1] < 256:
        turned, axis = x, 0
    else:  # A product with a transposed copy is faster, if XLA is kept from fusing it.
        turned, axis = lax.optimization_barrier(x.T), 1
    gradient = lax.dot_general(
        turned, out_grad, (((axis,), (0,)), ((), ())), precision=spec.precision
    )
    return gradient.reshape(spec.kernel_shape)


POINTWISE = Lowering(
    applies=lambda spec: (
        spec.kernel_shape[:2] == (1, 1)
        and spec.feature_group_count == 1
        and spec.lhs_dilation == (1, 1)
    ),
    conv=_pointwise,
    kernel_gradient=_kernel_gradient,
)


def _patches(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    (height, width, _), (rows, columns, _, _) = spec.out_shape, spec.kernel_shape
    x = pad(x, spec)[:, : height * rows, : width * columns]
    x = x.reshape(-1, height, rows, width, columns, x.shape[-1]).swapaxes(2, 3)
    return lax.dot_general(
        x, kernel, (((3, 4, 5), (0, 1, 2)), ((), ())), precision=spec.precision
    )


PATCHES = Lowering(
    # The strides of a single output pixel do not matter.
    applies=lambda spec: (
        (spec.kernel_shape[:2] == spec.window_strides or spec.out_shape[:2] == (1, 1))
        and spec.feature_group_count == 1
        and spec.lhs_dilation == spec.rhs_dilation == (1, 1)
    ),
    conv=_patches,
)
