"""The mlpconv layer, which Network In Network and its followers are made of."""

from collections.abc import Callable, Sequence

import flax.linen as nn
from jaxtyping import Array, Float


class MlpConv(nn.Module):
    """A convolution and 1x1 convolutions after it: a small MLP slides over the image.

    Attributes:
      features: output channels of each convolution.
      kernel_size: rows and columns of the first.
      conv: constructor of the convolutions.
      act: activation after each of them.

    Source: Lin et al., 2013, https://arxiv.org/abs/1312.4400, section 3.1.
    """

    features: Sequence[int]
    kernel_size: int
    conv: Callable[..., nn.Module]
    act: Callable[[Array], Array]

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n h w c2"], Float[Array, "n h w c3"]]:
        """Returns the output, and what the first convolution found, not activated."""
        first, *others = self.features
        response = self.conv(first, self.kernel_size)(x)
        x = self.act(response)
        for features in others:
            x = self.act(self.conv(features, 1)(x))
        return x, response
