"""The two halves of a transformer's block."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops


class Mlp(nn.Module):
    """Two dense layers with the exact GELU between them.

    Attributes:
      dense: constructor of the layers.
      expansion: features between them, in those of the input.
    """

    dense: Callable[..., nn.Module] = nn.Dense
    expansion: int = 4

    @nn.compact
    def __call__(self, x: Float[Array, "*rest c"]) -> Float[Array, "*rest c"]:
        features = x.shape[-1]
        y = ops.gelu(self.dense(self.expansion * features)(x))
        return self.dense(features)(y)


class SelfAttention(nn.Module):
    """Self-attention of several heads, whose projections are one dense layer.

    `softmax(Q K^T / sqrt(d) + bias) V` with the d features of each head; the softmax is
    in float32 or better.

    Attributes:
      heads: their number, which divides the features.
      dense: constructor of the projections `qkv` and `proj`.

    Source: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762, section 3.2.
    """

    heads: int
    dense: Callable[..., nn.Module] = nn.Dense

    @nn.compact
    def __call__(
        self, x: Float[Array, "*rest t c"], bias: Array | float = 0.0
    ) -> Float[Array, "*rest t c"]:
        """Applies the layer.

        Args:
          x: tokens.
          bias: added to the scores [*rest, heads, t (of queries), t (of keys)]; of as
            many axes.
        """
        *shape, features = x.shape
        depth = features // self.heads
        qkv = self.dense(3 * features, name="qkv")(x)
        qkv = qkv.reshape(*shape, 3, self.heads, depth)
        q, k, v = (qkv[..., i, :, :] for i in range(3))
        scores = jnp.einsum(
            "...qhd,...khd->...hqk",
            q * depth**-0.5,
            k,
            preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
        )
        weights = jax.nn.softmax(scores + bias).astype(v.dtype)
        y = jnp.einsum("...hqk,...khd->...qhd", weights, v)
        return self.dense(features, name="proj")(y.reshape(x.shape))
