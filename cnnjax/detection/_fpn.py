"""Feature pyramid: maps of several strides that all know what the coarsest one sees."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax.models import ModuleDef


class FeaturePyramid(nn.Module):
    """Adds to each map of a backbone those above it.

    Attributes:
      features: channels of every map.
      conv: constructor of the convolutions.

    Source: Lin et al., 2016, https://arxiv.org/abs/1612.03144, section 3.
    """

    features: int
    conv: ModuleDef

    @nn.compact
    def __call__(self, maps: Sequence[Array]) -> list[Array]:
        """Returns as many maps [n, h, w, features] of the same sizes.

        Args:
          maps: [n, h, w, c], the finest first.
        """
        *finer, x = (
            self.conv(self.features, name=f"lateral{k}")(y) for k, y in enumerate(maps)
        )
        merged = [x]
        for y in reversed(finer):
            x = y + resize_nearest(x, y.shape[1:3])
            merged.insert(0, x)
        return [
            self.conv(self.features, 3, name=f"smooth{k}")(x)
            for k, x in enumerate(merged)
        ]


def resize_nearest(
    x: Float[Array, "n h w c"], size: Sequence[int]
) -> Float[Array, "n h2 w2 c"]:
    """Returns maps of another size; row i is row `floor(i h / h2)` of x."""
    for axis, side in enumerate(size, start=1):
        if side == 2 * x.shape[axis]:
            x = jnp.repeat(x, 2, axis)
        elif side != x.shape[axis]:
            x = jnp.take(x, np.arange(side) * x.shape[axis] // side, axis)
    return x
