"""MobileNetV2: Inverted Residuals and Linear Bottlenecks.

Deviation: channels are rounded to a multiple of 8, as in the authors' code.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Endpoints, Paper, he_normal
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import InvertedResidual, round_channels


class Stage(NamedTuple):
    """A row of Table 2: t, c, n and s."""

    expansion: int
    features: int
    depth: int
    strides: int


# Table 2.
STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


class MobileNetV2(StagedClassifier, kw_only=True):
    """MobileNetV2 classifier.

    Attributes:
      width: multiplier of the channels; below 1 the last convolution keeps its own.
      stages: for width 1.
      dropout_rate: before the head.
    """

    width: float = 1.0
    stages: Sequence[Stage] = STAGES
    dropout_rate: float = 0.2

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem, stage1 (stride 2), 2 (4), 3 (8), 4, 5 (16), 6, 7 (32)."""
        layers = self.layers(train, he_normal, nn.initializers.normal(0.01))
        conv, norm, act = layers.conv, layers.norm, ops.relu6
        block = functools.partial(
            InvertedResidual,
            kernel_size=3,
            conv=conv,
            spatial_conv=conv,
            norm=norm,
            act=act,
            drop_path=layers.drop_path,
        )
        out = {}

        x = conv(round_channels(32 * self.width), 3, 2, name="stem")(image)
        x = out["stem"] = act(norm(name="stem_norm")(x))
        for i, stage in enumerate(self.stages, start=1):
            features = round_channels(stage.features * self.width)
            inputs = [x.shape[-1], *[features] * (stage.depth - 1)]
            options = [
                {
                    "features": features,
                    "hidden_features": stage.expansion * channels,
                    "strides": stage.strides if j == 0 else 1,
                }
                for j, channels in enumerate(inputs)
            ]
            x = out[f"stage{i}"] = self.run_stage(x, i, block, options)
        x = conv(round_channels(1280 * max(1.0, self.width)), name="head_conv")(x)
        x = ops.global_avg_pool(act(norm(name="head_norm")(x)))
        return self.classify(x, out, layers.dense, layers.dropout(self.dropout_rate))


PAPERS = {"*": Paper("Sandler et al.", 2018, "https://arxiv.org/abs/1801.04381")}
VARIANTS = {"mobilenet_v2": MobileNetV2}
