"""MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications.

Deviation: the last block of Table 1 is printed with stride 2, which its sizes
contradict; it has stride 1, as in the reference.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import (
    Activation,
    Endpoints,
    ModuleDef,
    Paper,
    he_normal,
)
from cnnjax.models._stages import StagedClassifier


he_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class SeparableBlock(nn.Module):
    """A 3x3 convolution of each channel, then a 1x1 convolution (Fig. 3, right).

    Attributes:
      features: output channels.
      strides: of the 3x3 convolution.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      act: activation.
    """

    features: int
    strides: int
    conv: ModuleDef
    norm: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        channels = x.shape[-1]
        x = self.conv(
            channels,
            3,
            self.strides,
            feature_group_count=channels,
            kernel_init=he_fan_in,
            name="depthwise",
        )(x)
        x = self.act(self.norm(name="depthwise_norm")(x))
        x = self.conv(self.features, name="pointwise")(x)
        return self.act(self.norm(name="pointwise_norm")(x))


class MobileNetV1(StagedClassifier, kw_only=True):
    """MobileNet classifier.

    Attributes:
      width: what the numbers of channels are multiplied by ("alpha").
      depths: number of blocks in each stage, of which all but the first begin with a
        stride of 2.
      dims: channels of each stage at width 1.
    """

    width: float = 1.0
    depths: Sequence[int] = (1, 2, 2, 6, 2)  # Table 1.
    dims: Sequence[int] = (64, 128, 256, 512, 1024)

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 2), stage2 (4), … stage5 (32)."""
        layers = self.layers(train, he_normal, he_normal)
        conv, norm = layers.conv, layers.norm
        block = functools.partial(SeparableBlock, conv=conv, norm=norm, act=nn.relu)
        out = {}

        x = conv(int(32 * self.width), 3, 2, name="stem")(image)
        x = out["stem"] = nn.relu(norm(name="stem_norm")(x))
        for stage, (depth, dim) in enumerate(
            zip(self.depths, self.dims, strict=True), start=1
        ):
            options = [
                {
                    "features": int(dim * self.width),
                    "strides": 2 if stage > 1 and j == 0 else 1,
                }
                for j in range(depth)
            ]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {"*": Paper("Howard et al.", 2017, "https://arxiv.org/abs/1704.04861")}

# Table 6: the widths.
VARIANTS = {
    f"mobilenet_v1{suffix}": functools.partial(MobileNetV1, width=width)
    for suffix, width in (("", 1.0), ("_0_75", 0.75), ("_0_5", 0.5), ("_0_25", 0.25))
}
