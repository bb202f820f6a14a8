"""Maxout: linear maps whose largest value is the activation."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array, Float


class Maxout(nn.Module):
    """The largest of several linear maps: `y_i = max_j (W x + b)_ij`.

    Attributes:
      features: output channels.
      pieces: linear maps for each of them.
      linear: constructor of one layer for all of the maps, of its number of channels.

    Source: Goodfellow et al., 2013, https://arxiv.org/abs/1302.4389, section 3.
    """

    features: int
    pieces: int
    linear: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: Float[Array, "n *rest c"]) -> Float[Array, "n *rest2 c2"]:
        y = self.linear(self.features * self.pieces)(x)
        return y.reshape(*y.shape[:-1], self.features, self.pieces).max(axis=-1)
