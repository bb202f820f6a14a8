"""Layers that multiply what they are given: by a channel's weight, or by chance."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float

from cnnjax import ops


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole image shows.

    `y = x gate(W2 act(W1 mean(x)))`

    Attributes:
      features: channels between the two 1x1 convolutions.
      act: activation between them.
      gate: activation after them.
      kernel_init: of both kernels.
      conv_general_dilated: the convolution, with lax's signature.
      dtype: computation dtype (default: promoted from input and params).
      param_dtype: parameter dtype.

    Source: Hu et al., 2017, https://arxiv.org/abs/1709.01507.
    """

    features: int
    act: Callable[[Array], Array] = ops.relu
    gate: Callable[[Array], Array] = nn.sigmoid
    kernel_init: Initializer = nn.initializers.lecun_normal()
    conv_general_dilated: Callable[..., Array] = ops.conv_general_dilated
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        def conv(features, name):
            return nn.Conv(
                features,
                (1, 1),
                kernel_init=self.kernel_init,
                conv_general_dilated=self.conv_general_dilated,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=name,
            )

        y = jnp.mean(x, axis=(1, 2), keepdims=True)
        y = self.act(conv(self.features, "reduce")(y))
        return x * self.gate(conv(x.shape[-1], "expand")(y))


class DropPath(nn.Module):
    """Leaves out a residual branch for some images: stochastic depth.

    In training each image's branch is 0 with probability `rate` and else divided by
    `1 - rate`, which keeps the mean.

    Attributes:
      rate: probability of leaving the branch out.
      deterministic: if True, every branch stays, as in inference.

    Raises:
      ValueError: when called, if a static rate is not a probability.

    Source: Huang et al., 2016, https://arxiv.org/abs/1603.09382.
    """

    rate: Float[Array, ""] | float
    deterministic: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, " n *rest"]) -> Float[Array, " n *rest"]:
        """Applies the layer; unless deterministic it needs the `dropout` stream."""
        constant = isinstance(self.rate, float | int)
        if constant and not 0 <= self.rate <= 1:
            raise ValueError(f"rate must be between 0 and 1, not {self.rate}")
        if self.deterministic or (constant and self.rate == 0):
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        # At rate 1 none is kept; x / 0 would give NaN gradients all the same.
        scaled = x / jnp.where(self.rate == 1, 1, 1 - self.rate)
        return jnp.where(kept, scaled.astype(x.dtype), jnp.zeros((), x.dtype))


class LayerScale(nn.Module):
    """Multiplies each channel by a parameter that begins near 0.

    Attributes:
      initial: the parameters' initial value.
      param_dtype: parameter dtype.

    Source: Touvron et al., 2021, https://arxiv.org/abs/2103.17239.
    """

    initial: float = 1e-6
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, " *rest c"]) -> Float[Array, " *rest c"]:
        constant = nn.initializers.constant(self.initial)
        scale = self.param("scale", constant, x.shape[-1:], self.param_dtype)
        return x * jnp.expand_dims(scale.astype(x.dtype), range(x.ndim - 1))
