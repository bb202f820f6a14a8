"""The inverted residual block, which mobile networks are made of."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax.nn._scales import SqueezeExcite


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection without an activation.

    `y = x + drop_path(project(squeeze_excite(act(depthwise(act(expand(x)))))))`, with a
    norm after each convolution; x joins only where the shape stays ("MBConv").

    Attributes:
      features: output channels.
      hidden_features: channels between the 1x1 convolutions. Nothing expands where the
        input has as many.
      kernel_size, strides: of the depthwise convolution.
      conv: constructor of the 1x1 convolutions.
      spatial_conv: constructor of the convolution of kernel_size.
      norm: constructor of the normalisations.
      act: activation.
      drop_path: constructor of stochastic depth, of the rate.
      squeezed_features: channels within squeeze-excitation; 0 leaves it out.
      squeeze_excite: its constructor.
      fused: whether one dense convolution of kernel_size replaces expansion and
        depthwise convolution, and where nothing expands the projection, too.

    Source: Sandler et al., 2018, https://arxiv.org/abs/1801.04381; squeeze-excitation:
    Tan et al., 2018, https://arxiv.org/abs/1807.11626; fused: Tan and Le, 2021,
    https://arxiv.org/abs/2104.00298.
    """

    features: int
    hidden_features: int
    kernel_size: int
    strides: int
    conv: Callable[..., nn.Module]
    spatial_conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    act: Callable[[Array], Array]
    drop_path: Callable[..., nn.Module]
    squeezed_features: int = 0
    squeeze_excite: Callable[..., nn.Module] = SqueezeExcite
    fused: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], drop_path_rate: float | Array = 0.0
    ) -> Float[Array, "n h2 w2 c2"]:
        """Runs the block; drop_path_rate is the probability of leaving it out."""

        def normed(y, name, conv, *shape, **options):
            return self.norm(name=f"{name}_norm")(conv(*shape, name=name, **options)(y))

        hidden, shape = self.hidden_features, (self.kernel_size, self.strides)
        expands = hidden != x.shape[-1]
        y = x
        if self.fused:
            features = hidden if expands else self.features
            y = self.act(normed(y, "fused", self.spatial_conv, features, *shape))
        else:
            if expands:
                y = self.act(normed(y, "expand", self.conv, hidden))
            y = normed(
                y,
                "depthwise",
                self.spatial_conv,
                hidden,
                *shape,
                feature_group_count=hidden,
            )
            y = self.act(y)
        if self.squeezed_features:
            y = self.squeeze_excite(self.squeezed_features, name="squeeze_excite")(y)
        if expands or not self.fused:
            y = normed(y, "project", self.conv, self.features)
        if self.strides > 1 or x.shape[-1] != self.features:
            return y
        return x + self.drop_path(drop_path_rate)(y)


def round_channels(channels: float | int, divisor: int = 8) -> int:
    """Rounds to a multiple of `divisor`, by at most 10 % down; processors like 8.

    Source: the code of Sandler et al., 2018, and what followed it.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor
