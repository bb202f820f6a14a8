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

from cnnjax.ops._primitive import Lowering
from cnnjax.ops._spec import ConvSpec, transpose
from cnnjax.ops._stored import stored_p


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


def _count_tiles(spec: ConvSpec, size: int) -> tuple[int, int]:
    """Returns how many tiles cover the output's rows and its columns."""
    height, width, _ = spec.out_shape
    return -(-height // size), -(-width // size)


def _kernel_values(kernel: Array, size: int) -> Array:
    """Returns the values [n, n, c, features] of a kernel [3, 3, c, features]."""
    matrix = matrices(size).kernel
    both = jnp.asarray(np.kron(matrix, matrix), kernel.dtype)
    values = jnp.matmul(both, kernel.reshape(9, -1), precision=lax.Precision.HIGHEST)
    return values.reshape(*2 * matrix.shape[:1], *kernel.shape[2:])


def _image_values(x: Array, spec: ConvSpec, size: int) -> list[Array]:
    """Returns, row by row of the n x n points, the values [n, tiles, c] of images."""
    n = size + 2
    matrix = matrices(size).image
    rows, columns = _count_tiles(spec, size)
    strips = [_strip(x, i - spec.padding[0][0], size, rows) for i in range(n)]
    left = spec.padding[1][0]
    right = columns * size + 2 - left - x.shape[2]
    values = []
    for row in matrix:
        # Padding the images would make XLA recompute them inside the padding.
        strip = _combine(row, strips)
        strip = jnp.pad(strip, ((0, 0), (0, 0), (left, right), (0, 0)))
        tiles = [strip[:, :, j : j + (columns - 1) * size + 1 : size] for j in range(n)]
        tiles = jnp.stack([_combine(row, tiles) for row in matrix])
        # The convolution and the kernel's gradient have them in common.
        values.append(stored_p.bind(tiles.reshape(n, -1, x.shape[3])))
    return values


def _gradient_values(out_grad: Array, spec: ConvSpec, size: int) -> list[Array]:
    """Returns the gradient of the products: for each row of points [n, tiles, c]."""
    matrix = matrices(size).output.T
    batch_size, height, width, features = out_grad.shape
    rows, columns = _count_tiles(spec, size)
    more = ((0, 0), (0, rows * size - height), (0, columns * size - width), (0, 0))
    # Each point reads all of a tile's pixels.
    tiles = jnp.pad(stored_p.bind(out_grad), more)
    tiles = tiles.reshape(batch_size, rows, size, columns, size, features)
    values = []
    for row in matrix:
        parts = [
            _combine(row, [tiles[:, :, i, :, j] for i in range(size)])
            for j in range(size)
        ]
        parts = jnp.stack([_combine(row, parts) for row in matrix])
        values.append(stored_p.bind(parts.reshape(size + 2, -1, features)))
    return values


def _conv(x: Array, kernel: Array, spec: ConvSpec, size: int = 2) -> Array:
    height, width, features = spec.out_shape
    rows, columns = _count_tiles(spec, size)
    output = matrices(size).output
    parts = []
    for image, values in zip(
        _image_values(x, spec, size), _kernel_values(kernel, size), strict=True
    ):
        products = lax.dot_general(
            image, values, (((2,), (1,)), ((0,), (0,))), precision=spec.precision
        )
        products = products.reshape(size + 2, x.shape[0], rows, columns, features)
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
    # BatchNorm reads it more than once.
    return stored_p.bind(y[:, :height, :width])


def _input_gradient(
    out_grad: Array, kernel: Array, spec: ConvSpec, size: int = 2
) -> Array:
    turned = dataclasses.replace(
        spec,
        image_shape=spec.out_shape,
        kernel_shape=(3, 3, *reversed(spec.kernel_shape[2:])),
        padding=tuple((2 - low, 2 - high) for low, high in spec.padding),
    )
    kernel = kernel[::-1, ::-1].swapaxes(2, 3)
    return _conv(stored_p.bind(out_grad), kernel, turned, size)


def kernel_gradient(x: Array, out_grad: Array, spec: ConvSpec, size: int = 2) -> Array:
    """Returns the gradient [3, 3, c, features] of a kernel.

    Args:
      x: images [n, h, w, c].
      out_grad: the output's gradient [n, *spec.out_shape].
      spec: of a convolution of which `has_kernel_gradient` holds.
      size: of the tiles.
    """
    images = _image_values(x, spec, size)
    pairs = zip(images, _gradient_values(out_grad, spec, size), strict=True)
    gradient = [
        lax.dot_general(
            image, values, (((1,), (1,)), ((0,), (0,))), precision=spec.precision
        )
        for image, values in pairs
    ]
    change = functools.partial(_kernel_values, size=size)
    return transpose(change, spec.kernel_shape, jnp.stack(gradient))


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


def _is_filter(spec: ConvSpec) -> bool:
    """Whether it is a dense 3x3 convolution that visits every pixel."""
    return (
        spec.kernel_shape[:2] == (3, 3)
        and spec.feature_group_count == 1
        and spec.window_strides == spec.lhs_dilation == spec.rhs_dilation == (1, 1)
        and all(0 <= padding <= 2 for side in spec.padding for padding in side)
    )


def _applies(spec: ConvSpec) -> bool:
    """Whether the products saved outweigh the values written.

    Few channels make small products, and the values of large images leave the cache.
    """
    height, width, features = spec.out_shape
    fewest = min(spec.kernel_shape[2], features)
    return (
        _is_filter(spec)
        and fewest >= 32
        and min(height, width) >= 8
        and (height * width <= 64 * 64 or fewest >= 128)
    )


def has_kernel_gradient(spec: ConvSpec) -> bool:
    """Whether the kernel's gradient is faster this way than by blocks of rows.

    Those copy each channel nine times: where features are many and channels few, less.
    """
    height, width, features = spec.out_shape
    channels = spec.kernel_shape[2]
    return (
        _is_filter(spec)
        and min(channels, features) >= 16
        and channels >= min(features, 48)
        and (min(height, width) >= 8 or channels * features >= 256 * 256)
        and height * width <= 128 * 128
    )


def _applies_4(spec: ConvSpec) -> bool:
    height, width, _ = spec.out_shape
    return _applies(spec) and height % 4 == width % 4 == 0


WINOGRAD = Lowering(
    applies=_applies,
    conv=_conv,
    input_gradient=_input_gradient,
    kernel_gradient=kernel_gradient,
)
# Fewer products still, but slow to compile, and coarser: gradients of deep networks
# differ by more than 1e-5. It has to be asked for.
WINOGRAD_4 = Lowering(
    applies=_applies_4,
    conv=functools.partial(_conv, size=4),
    input_gradient=functools.partial(_input_gradient, size=4),
    kernel_gradient=functools.partial(kernel_gradient, size=4),
)
