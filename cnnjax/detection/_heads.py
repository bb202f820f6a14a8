"""What several detectors put on each map of a pyramid."""

import math

import flax.linen as nn
from flax.typing import Initializer
from jaxtyping import Array, Float

from cnnjax.models import ModuleDef


class Tower(nn.Module):
    """Four 3x3 convolutions that keep the number of channels.

    Attributes:
      conv: constructor of the convolutions.
      norm: constructor of the normalisations, or None.

    Source: Lin et al., 2017, https://arxiv.org/abs/1708.02002, section 4.
    """

    conv: ModuleDef
    norm: ModuleDef | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        for k in range(4):
            x = self.conv(x.shape[-1], 3, name=f"Conv_{k}")(x)
            if self.norm is not None:
                x = self.norm(name=f"Norm_{k}")(x)
            x = nn.relu(x)
        return x


def prior(probability: float) -> Initializer:
    """Returns the initializer of biases whose sigmoid is a probability."""
    return nn.initializers.constant(-math.log((1 - probability) / probability))
