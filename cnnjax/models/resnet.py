"""ResNet and its kin for large images: ResNeXt, Wide ResNet, plain networks.

`PAPERS` has their sources; deformable blocks are of Dai et al., 2017,
https://arxiv.org/abs/1703.06211.

Deviation: the stride of a bottleneck is on its 3x3 convolution, not on its first 1x1,
as in all the weights that people share ("version 1.5").
"""

import functools
from collections.abc import Sequence
from typing import Literal

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
from cnnjax.nn import DeformConv


class Block(nn.Module):
    """What both kinds of blocks have.

    Attributes:
      features: channels of the stage.
      strides: of the block.
      kernel_dilations: of 3x3 convolutions, up to and after the one with the strides.
      spatial_conv: constructor of the 3x3 convolutions.
      conv: constructor of the 1x1 convolutions.
      norm: constructor of the normalisations.
      act: activation.
    """

    features: int
    strides: int
    kernel_dilations: tuple[int, int]
    spatial_conv: ModuleDef
    conv: ModuleDef
    norm: ModuleDef
    act: Activation

    def project(self, x: Array, features: int) -> Array:
        """Brings the input to the output's shape, if it differs (option B)."""
        if x.shape[-1] == features and self.strides == 1:
            return x
        x = self.conv(features, 1, self.strides, name="conv_proj")(x)
        return self.norm(name="norm_proj")(x)


class BasicBlock(Block):
    """Two 3x3 convolutions with a shortcut (Fig. 5, left).

    Attributes:
      shortcut: whether the input joins the output; a plain network's does not.
    """

    shortcut: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        conv = functools.partial(self.spatial_conv, self.features, 3)
        first, second = self.kernel_dilations
        y = conv(self.strides, kernel_dilation=first, name="Conv_0")(x)
        y = self.act(self.norm()(y))
        y = self.norm()(conv(kernel_dilation=second, name="Conv_1")(y))
        if self.shortcut:
            y += self.project(x, self.features)
        return self.act(y)


class Bottleneck(Block):
    """1x1 reduce, 3x3, 1x1 expand by 4, with a shortcut (Fig. 5, right).

    Attributes:
      groups: of the 3x3 convolution (ResNeXt, "cardinality").
      width: channels of one group, where the stage has 64.
    """

    groups: int = 1
    width: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        width = self.features * self.width // 64 * self.groups
        y = self.act(self.norm()(self.conv(width)(x)))
        y = self.spatial_conv(
            width,
            3,
            self.strides,
            kernel_dilation=self.kernel_dilations[0],
            feature_group_count=self.groups,
            name="Conv_1",
        )(y)
        y = self.act(self.norm()(y))
        y = self.norm()(self.conv(4 * self.features, name="Conv_2")(y))
        return self.act(y + self.project(x, 4 * self.features))


class ResNet(StagedClassifier, kw_only=True):
    """ResNet classifier.

    Attributes:
      depths: number of blocks in each stage.
      block: BasicBlock or Bottleneck, perhaps with some of its attributes.
      output_stride: of the last stage; 8 and 16 dilate kernels instead of subsampling.
      deformable_blocks: how many of the last blocks have deformable 3x3 convolutions.
    """

    depths: Sequence[int]
    block: ModuleDef
    output_stride: Literal[8, 16, 32] = 32
    deformable_blocks: int = 0

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 4), stage2 (8), stage3 (16), stage4 (32).

        The strides end at output_stride.
        """
        layers = self.layers(train, he_normal)
        conv, norm = layers.conv, layers.norm
        deform_conv = functools.partial(
            conv, layer=functools.partial(DeformConv, modulated=False)
        )
        out = {}

        x = nn.relu(norm(name="stem_norm")(conv(64, 7, 2, name="stem")(image)))
        x = out["stem"] = ops.max_pool2d(x, 3, 2, 1)
        stride, dilation, left = 4, 1, sum(self.depths)
        for stage, depth in enumerate(self.depths, start=1):
            strides, before = 1 if stage == 1 else 2, dilation
            if stride * strides > self.output_stride:
                strides, dilation = 1, dilation * strides
            stride *= strides
            options = [
                {
                    "features": 64 * 2 ** (stage - 1),
                    "strides": strides if j == 0 else 1,
                    "kernel_dilations": (before if j == 0 else dilation, dilation),
                    "spatial_conv": deform_conv
                    if left - j <= self.deformable_blocks
                    else conv,
                }
                for j in range(depth)
            ]
            left -= depth
            block = functools.partial(self.block, conv=conv, norm=norm, act=nn.relu)
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {
    "resnext*": Paper("Xie et al.", 2016, "https://arxiv.org/abs/1611.05431"),
    "wide_resnet*": Paper(
        "Zagoruyko and Komodakis", 2016, "https://arxiv.org/abs/1605.07146"
    ),
    "*": Paper("He et al.", 2015, "https://arxiv.org/abs/1512.03385"),
}


def _variants():
    """ResNet: Table 1. ResNeXt: Table 1. Wide ResNet: as in torchvision."""
    depths = {
        18: (2, 2, 2, 2),
        34: (3, 4, 6, 3),
        50: (3, 4, 6, 3),
        101: (3, 4, 23, 3),
        152: (3, 8, 36, 3),
    }
    plain = functools.partial(BasicBlock, shortcut=False)
    blocks: dict[str, tuple[int, ModuleDef]] = {
        f"resnet{n}": (n, BasicBlock if n < 50 else Bottleneck) for n in depths
    }
    blocks |= {f"plain{n}": (n, plain) for n in (18, 34)}
    for n, groups, width in ((50, 32, 4), (101, 32, 8), (101, 64, 4)):
        block = functools.partial(Bottleneck, groups=groups, width=width)
        blocks[f"resnext{n}_{groups}x{width}d"] = n, block
    for n in (50, 101):
        blocks[f"wide_resnet{n}_2"] = n, functools.partial(Bottleneck, width=128)
    return {
        name: functools.partial(ResNet, depths=depths[n], block=block)
        for name, (n, block) in blocks.items()
    }


VARIANTS = _variants()
