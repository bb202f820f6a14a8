"""Densely Connected Convolutional Networks (Huang et al., 2016).

Deviations: DenseNet-40 halves the channels between stages and begins with 2k of them
without a bottleneck, too, as the reference whose weights people share does;
`compression=1.0, stem_features=16` gives the paper's. With a bottleneck that is the
paper's DenseNet-BC.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import (
    Activation,
    Classifier,
    Endpoints,
    ModuleDef,
    Paper,
)


class PreActConv(nn.Module):
    """Concatenation, normalisation, activation, convolution, dropout.

    Attributes:
      features: output channels.
      kernel_size: of the convolution.
      conv: constructor of the convolution.
      norm: constructor of the normalisation.
      dropout: constructor of the dropout.
      act: activation.
    """

    features: int
    kernel_size: int
    conv: ModuleDef
    norm: ModuleDef
    dropout: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "n h w _"]]) -> Float[Array, "..."]:
        x = self.act(self.norm()(jnp.concatenate(maps, axis=-1)))
        return self.dropout()(self.conv(self.features, self.kernel_size)(x))


class DenseLayer(nn.Module):
    """Computes `growth_rate` more channels from all that there are (equation 2).

    Attributes:
      growth_rate: k, output channels.
      bottleneck: channels, in units of k, of a 1x1 convolution before the 3x3; None
        leaves it out.
      pre_act_conv: constructor of both, PreActConv.
    """

    growth_rate: int
    bottleneck: int | None
    pre_act_conv: ModuleDef

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "n h w _"]]) -> Float[Array, "..."]:
        if self.bottleneck is not None:
            features = self.bottleneck * self.growth_rate
            maps = [self.pre_act_conv(features, 1, name="bottleneck")(maps)]
        return self.pre_act_conv(self.growth_rate, 3, name="growth")(maps)


class DenseNet(Classifier, kw_only=True):
    """DenseNet classifier.

    Attributes:
      depths: number of layers in each stage ("dense block").
      growth_rate: k, channels that a layer adds.
      bottleneck: as in DenseLayer.
      compression: theta, the share of channels that enter the next stage.
      stem_features: channels that enter the first stage (default: 2k).
      small_images: whether the stem is a 3x3 convolution alone, as for CIFAR.
      dropout_rate: of dropout after every convolution but the first; the paper has 0.2
        where images are not augmented.
      remat: whether concatenations and what follows them up to the convolution are
        computed again in the backward pass instead of being kept: memory grows
        linearly, not quadratically, with depth. Source: Pleiss et al., 2017,
        https://arxiv.org/abs/1707.06990.
    """

    depths: Sequence[int]
    growth_rate: int
    bottleneck: int | None = 4
    compression: float = 0.5
    stem_features: int | None = None
    small_images: bool = False
    dropout_rate: float = 0.0
    remat: bool = False

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 4), stage2 (8), stage3 (16), stage4 (32).

        For small images a quarter of these. Stages end before their normalisation.
        """
        # The references', after He et al., 2015: normal on ImageNet, uniform on CIFAR.
        distribution = "uniform" if self.small_images else "normal"
        layers = self.layers(
            train, nn.initializers.variance_scaling(2.0, "fan_in", distribution)
        )
        conv, norm = layers.conv, layers.norm
        pre_act_conv = functools.partial(
            nn.remat(PreActConv) if self.remat else PreActConv,
            conv=conv,
            norm=norm,
            dropout=functools.partial(layers.dropout, self.dropout_rate),
            act=nn.relu,
        )
        out = {}

        features = self.stem_features or 2 * self.growth_rate
        if self.small_images:
            x = conv(features, 3, name="stem")(image)
        else:
            x = norm(name="stem_norm")(conv(features, 7, 2, name="stem")(image))
            x = ops.max_pool2d(nn.relu(x), 3, 2, 1)
        out["stem"] = x
        for stage, depth in enumerate(self.depths, start=1):
            if stage > 1:
                features = int(self.compression * x.shape[-1])
                x = pre_act_conv(features, 1, name=f"transition{stage - 1}")([x])
                x = ops.avg_pool2d(x, 2)
            maps = [x]
            for j in range(1, depth + 1):
                layer = DenseLayer(
                    self.growth_rate,
                    self.bottleneck,
                    pre_act_conv,
                    name=f"stage{stage}_block{j}",
                )
                maps.append(layer(maps))
            x = out[f"stage{stage}"] = jnp.concatenate(maps, axis=-1)
        x = nn.relu(norm(name="final_norm")(x))
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {"*": Paper("Huang et al.", 2016, "https://arxiv.org/abs/1608.06993")}

CifarDenseNet = functools.partial(
    DenseNet, small_images=True, num_classes=10, image_size=32
)

# Table 1 (DenseNet-161, k = 48, in the versions of the paper up to 2017).
VARIANTS = {
    f"densenet{2 * sum(depths) + 5}": functools.partial(
        DenseNet, depths=depths, growth_rate=growth_rate
    )
    for depths, growth_rate in (
        ((6, 12, 24, 16), 32),
        ((6, 12, 36, 24), 48),
        ((6, 12, 32, 32), 32),
        ((6, 12, 48, 32), 32),
    )
}
# Section 4.1, "Implementation Details": 40 layers, 36 of them in three stages.
VARIANTS |= {
    f"densenet40_k{k}{suffix}_cifar": functools.partial(
        CifarDenseNet, depths=(depth,) * 3, growth_rate=k, bottleneck=bottleneck
    )
    for k in (12, 24, 36)
    for suffix, depth, bottleneck in (("", 12, None), ("_bc", 6, 4))
}
