"""What networks share: options, the layers bound to them; and classifiers the head."""

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


class Paper(NamedTuple):
    """Where an architecture was published, e.g. ("He et al.", 2015, "https://…")."""

    authors: str
    year: int
    url: str


def make_conv(
    features: int,
    kernel_size: int = 1,
    strides: int = 1,
    padding: int | str | None = None,
    *,
    kernel_dilation: int = 1,
    layer: ModuleDef = nn.Conv,
    **options: Any,
) -> nn.Module:
    """Makes a square convolution, padded as in PyTorch unless said otherwise.

    Args:
      features: output channels.
      kernel_size, strides, kernel_dilation: one number for rows and columns.
      padding: pixels on every side (default: those that keep the size at stride 1;
        alike on both sides at stride 2, too, where "SAME" is not), or Linen's string.
      layer: its constructor.
      **options: what else the constructor takes.
    """
    if padding is None:
        padding = kernel_dilation * (kernel_size - 1) // 2
    return layer(
        features,
        (kernel_size, kernel_size),
        (strides, strides),
        padding if isinstance(padding, str) else ((padding, padding),) * 2,
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


class Network(nn.Module):
    """What networks of images are told, whatever they look for.

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
        kernel_init: Initializer = torch_default,
        dense_init: Initializer = torch_default,
        *,
        use_bias: bool = False,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
    ) -> Layers:
        """Binds the options to constructors; blocks never see `train`.

        Args:
          train: whether batch statistics are used and updated, and what is dropped by
            chance is dropped.
          kernel_init: of convolutions.
          dense_init: of dense layers.
          use_bias: whether convolutions have one; those before a norm need none.
          epsilon: added to variances.
          momentum: share of the old value in a running statistic's new one (PyTorch
            names the new one's share, by default 0.1).
        """
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        convolution = {"conv_general_dilated": self.conv_general_dilated, **types}
        return Layers(
            conv=functools.partial(
                make_conv, use_bias=use_bias, kernel_init=kernel_init, **convolution
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
            squeeze_excite=functools.partial(
                SqueezeExcite, kernel_init=kernel_init, **convolution
            ),
        )


class Classifier(Network):
    """A classifier of images: a network that returns logits and endpoints.

    `model.apply(variables, image, train=False)` takes normalised images, NHWC. In
    training it uses and updates the batch statistics (`mutable=["batch_stats"]`). It
    returns the logits [n, num_classes], or the features before them where num_classes
    is None; and the endpoints by name: `stem`, the outputs of the stages, `pre_logits`
    and `logits`. The model's own `__call__` says at which strides.
    """

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
