"""Searching for MobileNetV3.

Deviation: the channels within squeeze-excitation, a quarter of the block's hidden ones,
are rounded to a multiple of 8, as in the authors' code.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Activation, Endpoints, Paper, he_normal
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import InvertedResidual, round_channels


class Stage(NamedTuple):
    """Rows of Tables 1 and 2 that have the same #out, the first of them the strides.

    Attributes:
      kernel_size: of the depthwise convolutions.
      hidden_features: "exp size" of each block.
      features: "#out".
      squeeze_excite: "SE".
      act: "NL".
      strides: "s".
    """

    kernel_size: int
    hidden_features: tuple[int, ...]
    features: int
    squeeze_excite: bool
    act: Activation
    strides: int


class MobileNetV3(StagedClassifier, kw_only=True):
    """MobileNetV3 classifier.

    Attributes:
      stages: of inverted residual blocks.
      hidden_features: of the layer before the head.
      epsilon: of batch normalisation; weights of timm's own training need 1e-5.
      dropout_rate: before the head.
    """

    stages: Sequence[Stage]
    hidden_features: int
    epsilon: float = 1e-3
    dropout_rate: float = 0.2

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints, large: stem, stage1 (stride 2), 2 (4), 3 (8), 4, 5 (16), 6 (32).

        Small: stem (2), stage1 (4), stage2 (8), stage3 and stage4 (16), stage5 (32).
        """
        layers = self.layers(
            train,
            he_normal,
            nn.initializers.normal(0.01),
            epsilon=self.epsilon,
            momentum=0.99,
        )
        conv, norm, act = layers.conv, layers.norm, ops.hard_swish
        out = {}

        x = conv(16, 3, 2, name="stem")(image)
        x = out["stem"] = act(norm(name="stem_norm")(x))
        for i, stage in enumerate(self.stages, start=1):
            block = functools.partial(
                InvertedResidual,
                stage.features,
                kernel_size=stage.kernel_size,
                conv=conv,
                spatial_conv=conv,
                norm=norm,
                act=stage.act,
                drop_path=layers.drop_path,
                squeeze_excite=functools.partial(
                    layers.squeeze_excite, gate=ops.hard_sigmoid
                ),
            )
            options = [
                {
                    "hidden_features": hidden,
                    "strides": stage.strides if j == 0 else 1,
                    "squeezed_features": round_channels(hidden // 4)
                    if stage.squeeze_excite
                    else 0,
                }
                for j, hidden in enumerate(stage.hidden_features)
            ]
            x = out[f"stage{i}"] = self.run_stage(x, i, block, options)
        x = conv(6 * x.shape[-1], name="head_conv")(x)
        x = ops.global_avg_pool(act(norm(name="head_norm")(x)))
        x = act(layers.dense(self.hidden_features, name="hidden")(x))
        return self.classify(x, out, layers.dense, layers.dropout(self.dropout_rate))


PAPERS = {"*": Paper("Howard et al.", 2019, "https://arxiv.org/abs/1905.02244")}

VARIANTS = {
    # Table 1.
    "mobilenet_v3_large": functools.partial(
        MobileNetV3,
        stages=(
            Stage(3, (16,), 16, False, ops.relu, 1),
            Stage(3, (64, 72), 24, False, ops.relu, 2),
            Stage(5, (72, 120, 120), 40, True, ops.relu, 2),
            Stage(3, (240, 200, 184, 184), 80, False, ops.hard_swish, 2),
            Stage(3, (480, 672), 112, True, ops.hard_swish, 1),
            Stage(5, (672, 960, 960), 160, True, ops.hard_swish, 2),
        ),
        hidden_features=1280,
    ),
    # Table 2.
    "mobilenet_v3_small": functools.partial(
        MobileNetV3,
        stages=(
            Stage(3, (16,), 16, True, ops.relu, 2),
            Stage(3, (72, 88), 24, False, ops.relu, 2),
            Stage(5, (96, 240, 240), 40, True, ops.hard_swish, 2),
            Stage(5, (120, 144), 48, True, ops.hard_swish, 1),
            Stage(5, (288, 576, 576), 96, True, ops.hard_swish, 2),
        ),
        hidden_features=1024,
    ),
}
