"""SqueezeNet: AlexNet-level accuracy with 50x fewer parameters.

Deviations, those of the reference implementation: a ReLU follows the head; the first
convolution of 1.0 has no padding. Version 1.1 is the authors' later one: a smaller stem
and earlier poolings, with 2.4 times less computation at the same accuracy.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Activation, Endpoints, ModuleDef, Paper
from cnnjax.models._maps import MapClassifier


class Fire(nn.Module):
    """A 1x1 convolution to few channels, 1x1 and 3x3 ones to many (Fig. 1).

    Attributes:
      squeeze_features: channels between.
      features: output channels, half of them from each of the two convolutions.
      conv: constructor of the convolutions.
      norm: constructor of a normalisation after each of them, or None.
      act: activation.
    """

    squeeze_features: int
    features: int
    conv: ModuleDef
    norm: ModuleDef | None
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c2"]:
        def layer(x, features, kernel_size, name):
            x = self.conv(features, kernel_size, use_bias=self.norm is None, name=name)(
                x
            )
            if self.norm is not None:
                x = self.norm(name=f"{name}_norm")(x)
            return self.act(x)

        x = layer(x, self.squeeze_features, 1, "squeeze")
        half = self.features // 2
        expanded = layer(x, half, 1, "expand1x1"), layer(x, half, 3, "expand3x3")
        return jnp.concatenate(expanded, axis=-1)


class SqueezeNet(MapClassifier, kw_only=True):
    """SqueezeNet classifier; images are 21x21 (version 1.1: 17x17) at least.

    Attributes:
      stem_features: channels of the first convolution.
      stem_kernel_size: its rows and columns.
      depths: number of fire modules between two poolings.
      dims: output channels of all fire modules, one after another.
      batch_norm: whether the convolutions in fire modules are normalised.
      dropout_rate: before the head.
    """

    stem_features: int
    stem_kernel_size: int
    depths: Sequence[int]
    dims: Sequence[int] = (128, 128, 256, 256, 384, 384, 512, 512)
    batch_norm: bool = False
    dropout_rate: float = 0.5

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 4), stage2 (8), stage3 (16).

        Without padding before them they are up to two pixels smaller than h / stride.
        """
        layers = self.layers(train, nn.initializers.he_uniform(), use_bias=True)
        norm = layers.norm if self.batch_norm else None
        fire = functools.partial(Fire, conv=layers.conv, norm=norm, act=nn.relu)
        # The reference's ceil mode: the last window may stick out.
        pool = functools.partial(
            ops.max_pool2d, window=3, strides=2, padding=((0, 1), (0, 1))
        )
        out = {}

        size = self.stem_kernel_size
        x = layers.conv(self.stem_features, size, 2, padding=0, name="stem")(image)
        x = out["stem"] = pool(nn.relu(x))
        dims = iter(self.dims)
        for stage, depth in enumerate(self.depths, start=1):
            x = x if stage == 1 else pool(x)
            for j in range(1, depth + 1):
                features = next(dims)
                # "Squeeze ratio" 0.125: the best trade-off in Fig. 3 (a).
                x = fire(features // 8, features, name=f"stage{stage}_block{j}")(x)
            out[f"stage{stage}"] = x
        head = functools.partial(layers.conv, kernel_init=nn.initializers.normal(0.01))
        dropout = layers.dropout(self.dropout_rate)
        return self.classify_maps(x, out, head, nn.relu, dropout)


PAPERS = {"*": Paper("Iandola et al.", 2016, "https://arxiv.org/abs/1602.07360")}

# Table 1, and the authors' later version.
VARIANTS = {
    "squeezenet1_0": functools.partial(
        SqueezeNet, stem_features=96, stem_kernel_size=7, depths=(3, 4, 1)
    ),
    "squeezenet1_1": functools.partial(
        SqueezeNet, stem_features=64, stem_kernel_size=3, depths=(2, 2, 4)
    ),
}
