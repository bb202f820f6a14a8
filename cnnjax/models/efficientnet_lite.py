"""EfficientNet-Lite: EfficientNets for small devices, which quantise well.

They have no squeeze-excitation, ReLU6 instead of SiLU, and a stem and a head (its last
convolution and the stage before it) that scaling leaves as they are. They were
published as code and weights, without a paper of their own.
"""

import functools

import flax.linen as nn
from flax.typing import Initializer

from cnnjax import ops
from cnnjax.models._classifier import Activation, Paper
from cnnjax.models.efficientnet import B0, EfficientNet, scaled


class EfficientNetLite(EfficientNet, kw_only=True):
    """EfficientNet-Lite classifier, with TensorFlow's padding."""

    stem_features: int = 32
    act: Activation = ops.relu6
    squeeze_excite: bool = False
    padding: str | None = "SAME"
    # N(0, 2 / fan_out) of one group, whose fan out is the kernel's size: its fan in.
    depthwise_init: Initializer = nn.initializers.variance_scaling(
        2.0, "fan_in", "normal"
    )
    epsilon: float = 1e-3


PAPERS = {"*": Paper("Tan and Le", 2019, "https://arxiv.org/abs/1905.11946")}


def _variants():
    """As in https://github.com/tensorflow/tpu, models/official/efficientnet/lite."""
    coefficients = (
        (1.0, 1.0, 224, 0.2),
        (1.0, 1.1, 240, 0.2),
        (1.1, 1.2, 260, 0.3),
        (1.2, 1.4, 280, 0.3),
        (1.4, 1.8, 300, 0.3),
    )
    return {
        f"efficientnet_lite{i}": functools.partial(
            EfficientNetLite,
            stages=(
                scaled(B0[0], width, 1.0),
                *(scaled(stage, width, depth) for stage in B0[1:-1]),
                scaled(B0[-1], width, 1.0),
            ),
            image_size=image_size,
            dropout_rate=dropout_rate,
        )
        for i, (width, depth, image_size, dropout_rate) in enumerate(coefficients)
    }


VARIANTS = _variants()
