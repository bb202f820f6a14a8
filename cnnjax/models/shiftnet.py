"""Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions, section 4.3.

The layouts of A and B give the paper's 1.4 and 0.371 billion multiply-accumulates. That
of C was not at hand: its modules were chosen so as to give the paper's 0.78 million
parameters, with shortcuts that are padded with channels of zeros and added, not
concatenated, where there is a stride.
"""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
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
from cnnjax.nn import Shift


Join = Literal["concatenate", "add"]


class ShiftModule(nn.Module):
    """1x1 convolution, shift, 1x1 convolution, each after a norm ("CSC", Fig. 4).

    Attributes:
      features: output channels.
      strides: of the second convolution.
      expansion: channels that are shifted, as a multiple of the second convolution's.
      kernel_size: rows and columns of the shift's grid.
      join: how the shortcut, an average, joins where there is a stride.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      act: activation.
    """

    features: int
    strides: int
    expansion: int
    kernel_size: int
    join: Join
    conv: ModuleDef
    norm: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        channels = x.shape[-1]
        concatenate = self.strides > 1 and self.join == "concatenate"
        features = self.features - channels if concatenate else self.features

        y = self.act(self.norm(name="expand_norm")(x))
        y = self.conv(self.expansion * features, name="expand")(y)
        y = self.act(self.norm(name="project_norm")(y))
        y = Shift(self.kernel_size)(y)
        y = self.conv(features, 1, self.strides, name="project")(y)
        if self.strides > 1:
            x = ops.avg_pool2d(x, 3, self.strides, 1)
        if concatenate:
            return jnp.concatenate([y, x], axis=-1)
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, features - channels))) + y


class Stage(NamedTuple):
    """Modules of like images: their number, channels, grid, and expansions."""

    depth: int
    dim: int
    kernel_size: int
    first_expansion: int
    expansion: int


class ShiftNet(StagedClassifier, kw_only=True):
    """ShiftNet classifier.

    Attributes:
      stem_dim: channels of the first convolution.
      stages: what they consist of; each begins with a stride of 2.
      join: how shortcuts join where there is a stride: "concatenate" or "add".
    """

    stem_dim: int
    stages: Sequence[Stage]
    join: Join = "concatenate"

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (stride 2), stage1 (4), stage2 (8), … stage4 (32)."""
        layers = self.layers(train, he_normal)
        conv, norm = layers.conv, layers.norm
        block = functools.partial(
            ShiftModule, join=self.join, conv=conv, norm=norm, act=nn.relu
        )
        out = {}

        x = out["stem"] = conv(self.stem_dim, 7, 2, name="stem")(image)
        for i, stage in enumerate(self.stages, start=1):
            options = [
                {
                    "features": stage.dim,
                    "strides": 2 if j == 0 else 1,
                    "expansion": stage.first_expansion if j == 0 else stage.expansion,
                    "kernel_size": stage.kernel_size,
                }
                for j in range(stage.depth)
            ]
            x = out[f"stage{i}"] = self.run_stage(x, i, block, options)
        x = nn.relu(norm(name="last_norm")(x))
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {"*": Paper("Wu et al.", 2017, "https://arxiv.org/abs/1711.08141")}


def _variants():
    """Section 4.3 and its table: B has half of A's channels, C fewer modules."""
    a = (
        Stage(5, 64, 5, 4, 4),
        Stage(6, 128, 5, 4, 3),
        Stage(7, 256, 3, 3, 2),
        Stage(3, 512, 3, 2, 1),
    )
    b = tuple(stage._replace(dim=stage.dim // 2) for stage in a)
    depths_and_dims = ((1, 32), (4, 64), (4, 128), (3, 256))
    c = tuple(Stage(depth, dim, 3, 1, 1) for depth, dim in depths_and_dims)
    return {
        "shiftnet_a": functools.partial(ShiftNet, stem_dim=32, stages=a),
        "shiftnet_b": functools.partial(ShiftNet, stem_dim=16, stages=b),
        "shiftnet_c": functools.partial(ShiftNet, stem_dim=32, stages=c, join="add"),
    }


VARIANTS = _variants()
