"""Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions, section 4.1.

Deviation: shortcuts to another shape are projections, as in the authors' code, where
the ResNets that the paper names have parameter-free ones.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Activation, Endpoints, ModuleDef, Paper
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import Shift


class ShiftBlock(nn.Module):
    """1x1 convolution, shift, 1x1 convolution with a shortcut: instead of two 3x3.

    Attributes:
      features: output channels.
      strides: of the second convolution.
      expansion: channels that are shifted, as a multiple of the output's.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      act: activation.
    """

    features: int
    strides: int
    expansion: int
    conv: ModuleDef
    norm: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        y = self.conv(self.expansion * self.features, name="expand")(x)
        y = Shift()(self.act(self.norm(name="expand_norm")(y)))
        y = self.conv(self.features, 1, self.strides, name="project")(y)
        y = self.norm(name="project_norm")(y)
        if x.shape != y.shape:
            x = self.conv(self.features, 1, self.strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        return self.act(x + y)


class ShiftResNet(StagedClassifier, kw_only=True):
    """ShiftResNet for small images: three stages of 16, 32 and 64 channels.

    Attributes:
      depths: number of blocks in each stage.
      expansion: channels that are shifted, as a multiple of the stage's. With 9 (the
        default) it has as many parameters as the ResNet of the same depth.
    """

    depths: Sequence[int]
    expansion: int = 9
    num_classes: int | None = 10
    image_size: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 1), stage2 (2), stage3 (4)."""
        layers = self.layers(train)
        conv, norm = layers.conv, layers.norm
        block = functools.partial(
            ShiftBlock, expansion=self.expansion, conv=conv, norm=norm, act=nn.relu
        )
        out = {}

        x = out["stem"] = nn.relu(
            norm(name="stem_norm")(conv(16, 3, name="stem")(image))
        )
        for stage, depth in enumerate(self.depths, start=1):
            options = [
                {
                    "features": 16 * 2 ** (stage - 1),
                    "strides": 2 if stage > 1 and j == 0 else 1,
                }
                for j in range(depth)
            ]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {"*": Paper("Wu et al.", 2017, "https://arxiv.org/abs/1711.08141")}

# The paper's tables for CIFAR: depths and expansions.
VARIANTS = {
    f"shiftresnet{6 * n + 2}{suffix}_cifar": functools.partial(
        ShiftResNet, depths=(n, n, n), expansion=expansion
    )
    for n in (3, 9, 18)
    for suffix, expansion in (("", 9), ("_e1", 1), ("_e3", 3), ("_e6", 6), ("_e9", 9))
}
