"""Designing Network Design Spaces (Radosavovic et al., 2020): RegNetX and RegNetY.

Deviation: where a width is not a multiple of the group's, it is never rounded down by
more than a tenth, as in torchvision, whose RegNetX-400MF, RegNetY-800MF and RegNetY-8GF
differ from the paper's in that.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float

from cnnjax import errors, ops
from cnnjax.models._classifier import (
    Activation,
    Endpoints,
    ModuleDef,
    Paper,
    he_normal,
)
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import round_channels


class XBlock(nn.Module):
    """1x1, grouped 3x3, 1x1 of equal width, with a shortcut (Fig. 4); the Y block, too.

    Attributes:
      features: output channels.
      strides: of the 3x3 convolution.
      group_width: channels of each of its groups.
      squeezed_features: channels within squeeze-excitation; 0 leaves it out (X block).
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      squeeze_excite: constructor of squeeze-excitation.
      act: activation.
    """

    features: int
    strides: int
    group_width: int
    squeezed_features: int
    conv: ModuleDef
    norm: ModuleDef
    squeeze_excite: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        groups = self.features // self.group_width
        y = self.act(self.norm()(self.conv(self.features)(x)))
        y = self.conv(self.features, 3, self.strides, feature_group_count=groups)(y)
        y = self.act(self.norm()(y))
        if self.squeezed_features:
            y = self.squeeze_excite(self.squeezed_features, name="squeeze_excite")(y)
        y = self.norm()(self.conv(self.features)(y))
        if x.shape[-1] != self.features or self.strides != 1:
            x = self.conv(self.features, 1, self.strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        return self.act(x + y)


class Stage(NamedTuple):
    """Blocks of a stage, their channels, and the channels of a group."""

    depth: int
    width: int
    group_width: int


def quantised_linear(
    depth: int, w_0: int, w_a: float, w_m: float, group_width: int
) -> list[Stage]:
    """Returns the stages of a network whose width grows about linearly with depth.

    Block j has width `u = w_0 + w_a j`, rounded to a power of w_m times w_0:
    `w = w_0 w_m^round(log(u / w_0) / log(w_m))` (equations 2 to 4), and that to a
    multiple of 8; blocks of equal width are a stage.

    Args:
      depth: number of blocks.
      w_0: width of the first.
      w_a: slope.
      w_m: step from stage to stage.
      group_width: channels of a group; fewer where the stage is narrower.

    Raises:
      UserError: if widths do not grow from a multiple of 8.
    """
    if depth < 1 or w_0 <= 0 or w_0 % 8 or w_a < 0 or w_m <= 1 or group_width < 1:
        raise errors.UserError(
            "a RegNet has depth >= 1, a positive w_0 that is a multiple of 8, w_a >= 0,"
            f" w_m > 1 and group_width >= 1; these are {depth}, {w_0}, {w_a}, {w_m} and"
            f" {group_width}"
        )
    linear = w_0 + w_a * np.arange(depth)
    steps = np.round(np.log(linear / w_0) / np.log(w_m))
    widths = (8 * np.round(w_0 * w_m**steps / 8)).astype(int)
    stages = []
    for width, count in zip(*np.unique(widths, return_counts=True), strict=True):
        group = min(group_width, int(width))
        stages.append(Stage(int(count), round_channels(int(width), group), group))
    return stages


class RegNet(StagedClassifier, kw_only=True):
    """RegNet classifier; its stages are those of `quantised_linear`.

    Attributes:
      depth, w_0, w_a, w_m, group_width: as there.
      squeeze_ratio: channels within squeeze-excitation, as a share of the block's
        input; 0 for RegNetX.
    """

    depth: int
    w_0: int
    w_a: float
    w_m: float
    group_width: int
    squeeze_ratio: float = 0.0

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (stride 2), stage1 (4), stage2 (8), stage3 (16), stage4 (32).

        Raises:
          UserError: if there is no such network; see `quantised_linear`.
        """
        # The dense layer's is the reference's.
        layers = self.layers(train, he_normal, nn.initializers.normal(0.01))
        conv, norm = layers.conv, layers.norm
        block = functools.partial(
            XBlock,
            conv=conv,
            norm=norm,
            squeeze_excite=layers.squeeze_excite,
            act=nn.relu,
        )
        stages = quantised_linear(
            self.depth, self.w_0, self.w_a, self.w_m, self.group_width
        )
        out = {}

        x = conv(32, 3, 2, name="stem")(image)
        x = out["stem"] = nn.relu(norm(name="stem_norm")(x))
        for i, stage in enumerate(stages, start=1):
            options = [
                {
                    "features": stage.width,
                    "strides": 2 if j == 0 else 1,
                    "group_width": stage.group_width,
                    "squeezed_features": round(
                        self.squeeze_ratio * (x.shape[-1] if j == 0 else stage.width)
                    ),
                }
                for j in range(stage.depth)
            ]
            x = out[f"stage{i}"] = self.run_stage(x, i, block, options)
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {
    "regnet_y_128gf": Paper("Goyal et al.", 2021, "https://arxiv.org/abs/2103.01988"),
    "*": Paper("Radosavovic et al.", 2020, "https://arxiv.org/abs/2003.13678"),
}

# Tables of the appendix (there rounded), in full in the paper's code: depth, w_0, w_a,
# w_m, group width. RegNetY squeezes to a quarter.
VARIANTS = {
    f"regnet_{name}": functools.partial(
        RegNet,
        depth=depth,
        w_0=w_0,
        w_a=w_a,
        w_m=w_m,
        group_width=group_width,
        squeeze_ratio=0.25 if name[0] == "y" else 0.0,
    )
    for name, depth, w_0, w_a, w_m, group_width in (
        ("x_400mf", 22, 24, 24.48, 2.54, 16),
        ("x_800mf", 16, 56, 35.73, 2.28, 16),
        ("x_1_6gf", 18, 80, 34.01, 2.25, 24),
        ("x_3_2gf", 25, 88, 26.31, 2.25, 48),
        ("x_8gf", 23, 80, 49.56, 2.88, 120),
        ("x_16gf", 22, 216, 55.59, 2.1, 128),
        ("x_32gf", 23, 320, 69.86, 2.0, 168),
        ("y_400mf", 16, 48, 27.89, 2.09, 8),
        ("y_800mf", 14, 56, 38.84, 2.4, 16),
        ("y_1_6gf", 27, 48, 20.71, 2.65, 24),
        ("y_3_2gf", 21, 80, 42.63, 2.66, 24),
        ("y_8gf", 17, 192, 76.82, 2.19, 56),
        ("y_16gf", 18, 200, 106.23, 2.48, 112),
        ("y_32gf", 20, 232, 115.89, 2.53, 232),
        ("y_128gf", 27, 456, 160.83, 2.52, 264),
    )
}
