"""Convolutions that Linen lacks, and what stands in for one."""

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float

from cnnjax import ops


def _with_weights(layer, x, shape):
    """Declares a layer's kernel and bias; returns them after x, in one dtype."""
    kernel = layer.param("kernel", layer.kernel_init, shape, layer.param_dtype)
    bias = None
    if layer.use_bias:
        zeros = nn.initializers.zeros
        bias = layer.param("bias", zeros, (layer.features,), layer.param_dtype)
    return promote_dtype(x, kernel, bias, dtype=layer.dtype)


class ConvTranspose(nn.Module):
    """Transposed convolution with PyTorch's meaning of padding; see `ops`.

    Attributes:
      features: output channels.
      kernel_size, strides, padding, output_padding, kernel_dilation,
        feature_group_count: as in `ops.conv_transpose2d`.
      use_bias: whether to add a bias.
      kernel_init: of the kernel [kh, kw, c, features / feature_group_count].
      dtype: computation dtype (default: promoted from input and params).
      param_dtype: parameter dtype.

    Raises:
      ValueError: when called, if the groups do not divide the features, or the shapes
        do not fit each other.

    Source: Dumoulin and Visin, 2016, https://arxiv.org/abs/1603.07285, chapter 4.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str | tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    output_padding: tuple[int, int] = (0, 0)
    kernel_dilation: tuple[int, int] = (1, 1)
    feature_group_count: int = 1
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 m"]:
        per_group, rest = divmod(self.features, self.feature_group_count)
        if rest or not per_group:
            raise ValueError(
                f"feature_group_count {self.feature_group_count} does not divide "
                f"features {self.features}"
            )
        shape = (*self.kernel_size, x.shape[-1], per_group)
        x, kernel, bias = _with_weights(self, x, shape)
        return ops.conv_transpose2d(
            x,
            kernel,
            bias,
            self.strides,
            self.padding,
            self.output_padding,
            self.kernel_dilation,
            self.feature_group_count,
        )


class DeformConv(nn.Module):
    """Deformable convolution whose offsets (and masks) come from a convolution.

    That convolution is initialised to 0, so that the layer begins as a plain
    convolution (version 2: with every tap weighed by a half).

    Attributes:
      features: output channels.
      kernel_size, strides, padding, kernel_dilation: of both convolutions, as in
        `ops.deform_conv2d`.
      feature_group_count: groups of the deformable convolution's channels.
      offset_group_count: groups of channels that have offsets of their own.
      modulated: whether taps are weighed by a mask (version 2).
      use_bias: whether to add a bias.
      kernel_init: of the kernel [kh, kw, c / feature_group_count, features].
      conv_general_dilated: the convolution that finds the offsets.
      dtype: computation dtype (default: promoted from input and params).
      param_dtype: parameter dtype.

    Source: Dai et al., 2017, https://arxiv.org/abs/1703.06211, and Zhu et al., 2018,
    https://arxiv.org/abs/1811.11168.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    kernel_dilation: tuple[int, int] = (1, 1)
    feature_group_count: int = 1
    offset_group_count: int = 1
    modulated: bool = True
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    conv_general_dilated: Callable[..., Array] = ops.conv_general_dilated
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 m"]:
        taps = self.offset_group_count * self.kernel_size[0] * self.kernel_size[1]
        moves = nn.Conv(
            (3 if self.modulated else 2) * taps,
            self.kernel_size,
            self.strides,
            self.padding,
            kernel_dilation=self.kernel_dilation,
            kernel_init=nn.initializers.zeros,
            conv_general_dilated=self.conv_general_dilated,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="offset",
        )(x)
        mask = nn.sigmoid(moves[..., 2 * taps :]) if self.modulated else None
        channels = x.shape[-1] // self.feature_group_count
        shape = (*self.kernel_size, channels, self.features)
        x, kernel, bias = _with_weights(self, x, shape)
        return ops.deform_conv2d(
            x,
            moves[..., : 2 * taps],
            kernel,
            mask,
            bias,
            self.strides,
            self.padding,
            self.kernel_dilation,
            self.feature_group_count,
        )


class Shift(nn.Module):
    """Moves channels over the cells of a grid, as in ShiftNet; it has no parameters.

    Attributes:
      kernel_size: rows and columns of the grid, odd.
      mode: what enters at the border: "zero" or "circular".

    Source: Wu et al., 2017, https://arxiv.org/abs/1711.08141.
    """

    kernel_size: int = 3
    mode: Literal["zero", "circular"] = "zero"

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        table = ops.grid_displacements(x.shape[-1], self.kernel_size)
        return ops.shift2d(x, table, self.mode)


class BlurPool(nn.Module):
    """Smooths and subsamples; it has no parameters. See `ops.blur_pool`.

    Attributes:
      strides: of rows and columns.
      filter_size: pixels of the filter along an axis.

    Raises:
      ValueError: when called with images not larger than half the filter.

    Source: Zhang, 2019, https://arxiv.org/abs/1904.11486.
    """

    strides: tuple[int, int] = (2, 2)
    filter_size: int = 3

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
        return ops.blur_pool(x, self.strides, self.filter_size)
