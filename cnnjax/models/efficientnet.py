"""EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks.

Deviations: stages are numbered without the stem, which is the paper's stage 1; weights
are initialised, and batch statistics taken, as in the implementation whose weights
people share.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
from flax.typing import Initializer
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Activation, Endpoints, Paper, he_normal
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import InvertedResidual, round_channels


class Stage(NamedTuple):
    """Blocks that are alike but for the first, which has the strides.

    Attributes:
      expansion: hidden channels of a block in terms of its input's.
      kernel_size, strides: of the spatial convolution.
      features: output channels.
      depth: number of blocks.
      fused: whether blocks are fused ones, without squeeze-excitation.
    """

    expansion: int
    kernel_size: int
    strides: int
    features: int
    depth: int
    fused: bool = False


class EfficientNet(StagedClassifier, kw_only=True):
    """EfficientNet classifier.

    Attributes:
      stages: of inverted residual blocks.
      stem_features: channels of the first convolution.
      head_features: channels of the last one.
      act: activation.
      squeeze_excite: whether blocks weigh their channels.
      padding: of spatial convolutions: None pads both sides alike, "SAME" as in weights
        that come from TensorFlow.
      depthwise_init: of the spatial convolutions in blocks.
      epsilon, momentum: of batch normalisation.
      dropout_rate: before the head.
      drop_path_rate: of the block after the last; from 0 for the first it grows evenly.
    """

    stages: Sequence[Stage]
    stem_features: int
    head_features: int = 1280
    act: Activation = ops.silu
    squeeze_excite: bool = True
    padding: str | None = None
    depthwise_init: Initializer = he_normal
    epsilon: float = 1e-5
    momentum: float = 0.9
    dropout_rate: float = 0.2
    drop_path_rate: float = 0.2

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem, stage1 (stride 2), 2 (4), 3 (8), 4, 5 (16), 6, 7 (32)."""
        # U(-b, b) with b^2 = 1 / fan_out.
        dense_init = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        layers = self.layers(
            train,
            he_normal,
            dense_init,
            epsilon=self.epsilon,
            momentum=self.momentum,
        )
        conv, norm, act = layers.conv, layers.norm, self.act
        spatial_conv = functools.partial(conv, padding=self.padding)
        block = functools.partial(
            InvertedResidual,
            conv=conv,
            spatial_conv=functools.partial(
                spatial_conv, kernel_init=self.depthwise_init
            ),
            norm=norm,
            act=act,
            drop_path=layers.drop_path,
            squeeze_excite=functools.partial(layers.squeeze_excite, act=act),
        )
        depth = sum(stage.depth for stage in self.stages)
        rates = [self.drop_path_rate * i / depth for i in range(depth)]
        out = {}

        x = spatial_conv(self.stem_features, 3, 2, name="stem")(image)
        x = out["stem"] = act(norm(name="stem_norm")(x))
        for i, stage in enumerate(self.stages, start=1):
            squeezes = self.squeeze_excite and not stage.fused
            inputs = [x.shape[-1], *[stage.features] * (stage.depth - 1)]
            options = [
                {
                    "features": stage.features,
                    "hidden_features": stage.expansion * channels,
                    "kernel_size": stage.kernel_size,
                    "strides": stage.strides if j == 0 else 1,
                    # A quarter of the block's input, not of what is squeezed.
                    "squeezed_features": max(1, channels // 4) if squeezes else 0,
                    "fused": stage.fused,
                }
                for j, channels in enumerate(inputs)
            ]
            own, rates = rates[: stage.depth], rates[stage.depth :]
            x = out[f"stage{i}"] = self.run_stage(x, i, block, options, own)
        x = act(norm(name="head_norm")(conv(self.head_features, name="head_conv")(x)))
        dropout = layers.dropout(self.dropout_rate)
        return self.classify(ops.global_avg_pool(x), out, layers.dense, dropout)


PAPERS = {"*": Paper("Tan and Le", 2019, "https://arxiv.org/abs/1905.11946")}

# Table 1: B0.
B0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


def scaled(stage: Stage, width: float, depth: float) -> Stage:
    """Multiplies a stage's channels and blocks."""
    return stage._replace(
        features=round_channels(stage.features * width),
        depth=math.ceil(stage.depth * depth),
    )


def _variants():
    """Compound scaling (section 3.3): width, depth and resolution grow together.

    The coefficients are those of the authors' code, near 1.1^phi, 1.2^phi and
    224 * 1.15^phi; its dropout grows from 0.2 to 0.5 (section 5.2), too.
    """
    coefficients = (
        (1.0, 1.0, 224, 0.2),
        (1.0, 1.1, 240, 0.2),
        (1.1, 1.2, 260, 0.3),
        (1.2, 1.4, 300, 0.3),
        (1.4, 1.8, 380, 0.4),
        (1.6, 2.2, 456, 0.4),
        (1.8, 2.6, 528, 0.5),
        (2.0, 3.1, 600, 0.5),
    )
    return {
        f"efficientnet_b{i}": functools.partial(
            EfficientNet,
            stages=tuple(scaled(stage, width, depth) for stage in B0),
            stem_features=round_channels(32 * width),
            head_features=round_channels(1280 * width),
            image_size=image_size,
            dropout_rate=dropout_rate,
            # The shared weights of B5 and up come from the authors' code and have its
            # values; the others were trained with PyTorch's.
            **({"epsilon": 1e-3, "momentum": 0.99} if i >= 5 else {}),
        )
        for i, (width, depth, image_size, dropout_rate) in enumerate(coefficients)
    }


VARIANTS = _variants()
