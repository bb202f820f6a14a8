"""What classifiers share: their options, the layers bound to these, the head."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jaxtyping import Array

from cnnjax import ops
from cnnjax.nn import DropPath, SqueezeExcite


ModuleDef = Callable[..., nn.Module]
Activation = Callable[[Array], Array]
Endpoints = dict[str, Array]

# Initialisation of weights. PyTorch's own default, which the reference of a family
# without a word on it has: U(-b, b) with b^2 = 1 / fan_in (biases begin at 0 here).
torch_default = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# He et al., 2015, https://arxiv.org/abs/1502.01852, eq. 14 (preserves gradients).
he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def symmetric(kernel_size: int, kernel_dilation: int = 1) -> int:
    """Returns the padding on each side that keeps the size at stride 1.

    At stride 2 it is PyTorch's, which pads both sides alike; "SAME" does not.
    """
    return kernel_dilation * (kernel_size - 1) // 2


def make_conv(
    features: int,
    kernel_size: int | tuple[int, int] = 1,
    strides: int = 1,
    padding: int | str | tuple[tuple[int, int], tuple[int, int]] | None = None,
    *,
    kernel_dilation: int = 1,
    layer: ModuleDef = nn.Conv,
    **options: Any,
) -> nn.Module:
    """Makes a convolution of images whose padding is symmetric unless said otherwise.

    Args:
      features: output channels.
      kernel_size, strides, kernel_dilation: one number for rows and columns.
      padding: pixels on every side (default: those that keep the size at stride 1), or
        as in Linen.
      layer: its constructor.
      **options: what else the constructor takes.
    """
    rows, columns = (
        (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    )
    if padding is None:
        sides = symmetric(rows, kernel_dilation), symmetric(columns, kernel_dilation)
        padding = ((sides[0], sides[0]), (sides[1], sides[1]))
    elif isinstance(padding, int):
        padding = ((padding, padding), (padding, padding))
    return layer(
        features,
        (rows, columns),
        (strides, strides),
        padding,
        kernel_dilation=(kernel_dilation, kernel_dilation),
        **options,
    )


class Layers(NamedTuple):
    """Constructors that know the model's options and whether it is in training."""

    conv: ModuleDef
    dense: ModuleDef
    norm: ModuleDef
    layer_norm: ModuleDef
    dropout: ModuleDef
    drop_path: ModuleDef
    squeeze_excite: ModuleDef


class Classifier(nn.Module):
    """A classifier of images.

    Attributes:
      num_classes: logits to predict; None leaves the head out.
      image_size: rows and columns of the images that it was published for. Other sizes
        work too, where the family does not say otherwise.
      axis_name: mapped axis over which batch statistics are averaged, if any.
      conv_general_dilated: the convolution, with lax's signature.
      dtype: computation dtype (default: promoted from input and params).
      param_dtype: parameter dtype.
    """

    num_classes: int | None = 1000
    image_size: int = 224
    axis_name: str | None = None
    conv_general_dilated: Callable[..., Array] = ops.conv_general_dilated
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def layers(
        self,
        train: bool,
        *,
        use_bias: bool = False,
        kernel_init: Initializer = torch_default,
        dense_init: Initializer = torch_default,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
    ) -> Layers:
        """Binds the options to constructors; blocks never see `train`.

        Args:
          train: whether batch statistics are used and updated, and what is dropped by
            chance is dropped.
          use_bias: whether convolutions have one; those before a norm need none.
          kernel_init: of convolutions.
          dense_init: of dense layers.
          epsilon: added to variances.
          momentum: share of the old value in a running statistic's new one.
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        convolution = {"conv_general_dilated": self.conv_general_dilated, **types}
        return Layers(
            conv=functools.partial(
                make_conv,
                use_bias=use_bias,
                kernel_init=kernel_init,
                **convolution,
            ),
            dense=functools.partial(nn.Dense, kernel_init=dense_init, **types),
            norm=functools.partial(
                nn.BatchNorm,
                use_running_average=not train,
                momentum=momentum,
                epsilon=epsilon,
                axis_name=self.axis_name,
                **types,
            ),
            layer_norm=functools.partial(nn.LayerNorm, epsilon=epsilon, **types),
            dropout=functools.partial(nn.Dropout, deterministic=not train),
            drop_path=functools.partial(DropPath, deterministic=not train),
            squeeze_excite=functools.partial(SqueezeExcite, **convolution),
        )

    def classify(
        self,
        x: Array,
        endpoints: Endpoints,
        head: ModuleDef,
        dropout: Activation = lambda x: x,
    ) -> tuple[Array, Endpoints]:
        """Ends a network: notes features as `pre_logits`, and as `logits` their scores.

        Args:
          x: features [n, c].
          endpoints: what the network has noted so far.
          head: constructor of the last layer, `Layers.dense` as a rule.
          dropout: applied before it.

        Returns:
          The logits [n, num_classes] (x where num_classes is None) and the endpoints.
        """
        endpoints = {**endpoints, "pre_logits": x}
        if self.num_classes is not None:
            x = endpoints["logits"] = head(self.num_classes, name="head")(dropout(x))
        return x, endpoints
