"""The static parameters of a convolution, and what follows from them alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array


Pair = tuple[int, int]
AnyArray = Array | np.ndarray
Shape = Sequence[Any]  # Of integers; exported functions have symbolic ones, too.
DIMENSION_NUMBERS = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """A two-dimensional convolution of NHWC images with HWIO kernels.

    Attributes:
      image_shape: (h, w, c) of the input.
      kernel_shape: (kh, kw, c / feature_group_count, out_channels).
      window_strides, padding, lhs_dilation, rhs_dilation, feature_group_count,
        precision: as in `jax.lax.conv_general_dilated`.
      lowering: how CPUs compute it, a key of `LOWERINGS`.
      everywhere: whether other platforms do, too, instead of XLA's convolution.
    """

    image_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    window_strides: tuple[int, ...] = (1, 1)
    padding: tuple[Pair, ...] = ((0, 0), (0, 0))
    lhs_dilation: tuple[int, ...] = (1, 1)
    rhs_dilation: tuple[int, ...] = (1, 1)
    feature_group_count: int = 1
    precision: Any = None
    lowering: str = "lax"
    everywhere: bool = False

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """(h, w, c) of the output: `floor((P + D(H-1) - E(K-1)) / S) + 1`.

        P is the padding of both sides, D the input's dilation, E the kernel's.
        """
        height, width = (
            max(0, (sum(p) + d * (n - 1) - e * (k - 1)) // s + 1)
            for n, k, s, p, d, e in zip(
                self.image_shape,
                self.kernel_shape,
                self.window_strides,
                self.padding,
                self.lhs_dilation,
                self.rhs_dilation,
                strict=False,  # The shapes end with channels.
            )
        )
        return height, width, self.kernel_shape[3]

    def reference(self, x: Array, kernel: Array) -> Array:
        """XLA's own convolution, which defines what every lowering computes."""
        return lax.conv_general_dilated(
            x,
            kernel,
            self.window_strides,
            self.padding,
            lhs_dilation=self.lhs_dilation,
            rhs_dilation=self.rhs_dilation,
            dimension_numbers=DIMENSION_NUMBERS,
            feature_group_count=self.feature_group_count,
            precision=self.precision,
        )


def accumulator(dtype: Any) -> np.dtype:
    """Returns what a floating dtype is summed in: half precision in single."""
    # Not `promote_types`, which refuses it in JAX's strict mode.
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def vary_alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Makes two arrays vary over the same axes of `shard_map`, as `lax` does."""
    ours, theirs = _varying_axes(a), _varying_axes(b)
    if theirs - ours:
        a = lax.pcast(a, tuple(theirs - ours), to="varying")
    if ours - theirs:
        b = lax.pcast(b, tuple(ours - theirs), to="varying")
    return a, b


def _varying_axes(x: Array) -> frozenset[str]:
    kind = jax.typeof(x)
    manual = getattr(kind, "manual_axis_type", None)  # Since jax 0.10; before, `vma`.
    return getattr(kind, "vma", frozenset()) if manual is None else manual.varying


def zeros(shape: Shape, like: Array) -> Array:
    """Returns zeros with the dtype of another array, varying over the same axes."""
    return vary_alike(jnp.zeros(shape, like.dtype), like)[0]


def transpose(
    function: Callable[[Array], Array], shape: Shape, cotangent: Array
) -> Array:
    """Applies the transpose of a linear function of one array of that shape."""
    # An argument that varied over fewer axes would have its gradient summed over them.
    return jax.linear_transpose(function, zeros(shape, cotangent))(cotangent)[0]
