"""Dense 3x3 convolutions in fewer multiplications: Winograd's minimal filtering.

Tiles of the output, size x size pixels, come from overlapping tiles of the images, n x
n with n = size + 2: both are polynomials, which are multiplied at n points. Images,
kernel and output are changed to values at these points and back by small matrices;
between them stand n x n matrix products instead of 9 size x size.

Source: Lavin and Gray, 2015, https://arxiv.org/abs/1509.09308.
"""

import dataclasses
import functools
import operator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from cnnjax.ops._lowerings._dense import DENSE
from cnnjax.ops._primitive import Lowering
from cnnjax.ops._spec import ConvSpec, transpose


# Where the polynomials are evaluated, besides infinity. Those of 4 x 4 tiles were
# chosen for their rounding errors, smaller than those of the usual 0, 1, -1, 2, -2.
POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)}


class Matrices(NamedTuple):
    """What changes rows, and columns, to values at points and back.

    Attributes:
      image: [n, n], to values of a tile of the images.
      kernel: [n, 3], to values of the kernel.
      output: [size, n], from values to a tile of the output.
    """

    image: np.ndarray
    kernel: np.ndarray
    output: np.ndarray


@functools.cache
def matrices(size: int) -> Matrices:
    """Returns the matrices of the output's tiles of a size, in double precision."""
    points = np.array(POINTS[size])
    n = len(points) + 1

    def powers(degrees: int) -> np.ndarray:
        infinity = np.eye(degrees)[-1:]
        return np.concatenate([np.vander(points, degrees, increasing=True), infinity])

    # Factors between the image's values and the kernel's that shorten the former's.
    apart = points[:, None] - points + np.eye(n - 1)
    factors = np.append(apart.prod(1), 1.0)[:, None]
    image = np.linalg.inv(powers(n)).T * factors
    image[abs(image) < 1e-12] = 0.0
    return Matrices(image, powers(3) / factors, powers(size).T)


def _size(spec: ConvSpec) -> int:
    """Returns the size of the output's tiles: what leaves few pixels over."""
    height, width, _ = spec.out_shape
    return 4 if height % 4 == width % 4 == 0 else 2


def _kernel_values(kernel: Array, size: int) -> Array:
    """Returns the values [n, n, c, features] of a kernel [3, 3, c, features]."""
    matrix = matrices(size).kernel
    rows = [_combine(row, [*kernel]) for row in matrix]
    return jnp.stack(
        [jnp.stack([_combine(row, [*columns]) for row in matrix]) for columns in rows]
    )


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    size = _size(spec)
    n = size + 2
    image, _, output = matrices(size)
    height, width, features = spec.out_shape
    rows, columns = -(-height // size), -(-width // size)
    strips = [_strip(x, i - spec.padding[0][0], size, rows) for i in range(n)]
    left = spec.padding[1][0]
    right = columns * size + 2 - left - x.shape[2]
    parts = []
    for row, values in zip(image, _kernel_values(kernel, size), strict=True):
        # Padding the images would make XLA recompute them inside the padding.
        strip = _combine(row, strips)
        strip = jnp.pad(strip, ((0, 0), (0, 0), (left, right), (0, 0)))
        tiles = [strip[:, :, j : j + (columns - 1) * size + 1 : size] for j in range(n)]
        tiles = jnp.stack([_combine(row, tiles) for row in image])
        products = lax.dot_general(
            tiles.reshape(n, -1, x.shape[3]),
            values,
            (((2,), (1,)), ((0,), (0,))),
            precision=spec.precision,
        )
        products = products.reshape(n, x.shape[0], rows, columns, features)
        parts.append([_combine(row, [*products]) for row in output])
    # [n, rows, size, columns, size, features]
    y = jnp.stack(
        [
            jnp.stack([_combine(row, [*part]) for part in zip(*parts, strict=True)], 3)
            for row in output
        ],
        2,
    )
    y = y.reshape(x.shape[0], rows * size, columns * size, features)
    return y[:, :height, :width]


def _input_gradient(out_grad: Array, kernel: Array, spec: ConvSpec) -> Array:
    turned = dataclasses.replace(
        spec,
        image_shape=spec.out_shape,
        kernel_shape=(3, 3, *reversed(spec.kernel_shape[2:])),
        padding=tuple((2 - low, 2 - high) for low, high in spec.padding),
    )
    if not _applies(turned):
        shape = (out_grad.shape[0], *spec.image_shape)
        return transpose(lambda x: DENSE.conv(x, kernel, spec), shape, out_grad)
    return _conv(out_grad, kernel[::-1, ::-1].swapaxes(2, 3), turned)


def _strip(x: Array, start: int, step: int, count: int) -> Array:
    """Returns count rows of images, from start on; those outside are 0."""
    first = max(0, -(start // step))
    last = min(count, -(-(x.shape[1] - start) // step))
    inside = x[:, start + first * step : start + (last - 1) * step + 1 : step]
    return jnp.pad(inside, ((0, 0), (first, count - last), (0, 0), (0, 0)))


def _combine(factors: np.ndarray, arrays: list[Array]) -> Array:
    """Returns a weighted sum, without what counts nothing."""
    terms = zip(factors.tolist(), arrays, strict=True)
    products = [array if f == 1 else f * array for f, array in terms if f]
    return functools.reduce(operator.add, products)


def _applies(spec: ConvSpec) -> bool:
    """Whether the products saved outweigh the values written.

    Few channels make small products, and the values of large images leave the cache.
    """
    height, width, features = spec.out_shape
    channels = spec.kernel_shape[2]
    return (
        spec.kernel_shape[:2] == (3, 3)
        and spec.feature_group_count == 1
        and spec.window_strides == spec.lhs_dilation == spec.rhs_dilation == (1, 1)
        and all(0 <= padding <= 2 for side in spec.padding for padding in side)
        and min(channels, features) >= 32
        and channels * features >= 64 * 64
        and 12 <= min(height, width)
        and (height * width <= 64 * 64 or min(channels, features) >= 128)
    )


WINOGRAD = Lowering(
    applies=_applies,
    conv=_conv,
    input_gradient=_input_gradient,
    kernel_gradient=DENSE.kernel_gradient,
    # XLA computes the output again wherever it is read: for BatchNorm's statistics, and
    # in the backward pass, which made ResNet-50's training step a fifth slower.
    inference_only=True,
)
