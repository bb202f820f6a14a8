"""Highway networks: Training Very Deep Networks, for CIFAR-10.

Deviations: the first convolution is initialised as the others are. Of the network of 32
layers the paper gives only the depth and "about 1.25 million" parameters. Here it has
stages of ten convolutions where that of 19 layers has five, six and six, and 32, 48 and
64 channels, with which there are 1.26 million.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Activation, Endpoints, ModuleDef, Paper
from cnnjax.models._stages import StagedClassifier


class HighwayLayer(nn.Module):
    """A 3x3 convolution behind a gate: `y = H(x) T(x) + x (1 - T(x))` (eq. 3).

    Attributes:
      conv: constructor of the convolutions.
      act: activation of H.
      gate_bias: at first; below 0, so that most of x is carried on (section 2.2).
    """

    conv: ModuleDef
    act: Activation
    gate_bias: float

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        bias = nn.initializers.constant(self.gate_bias)
        transformed = self.act(self.conv(x.shape[-1], 3, name="transform")(x))
        gate = self.conv(x.shape[-1], 3, bias_init=bias, name="gate")(x)
        return x + nn.sigmoid(gate) * (transformed - x)


class Highway(StagedClassifier, kw_only=True):
    """Highway classifier of small images.

    Attributes:
      depths: number of convolutions in each stage; only the first, which changes the
        number of channels, has no gate.
      dims: channels of each stage.
      hidden_features: channels of the last convolution, 1x1.
      gate_bias: of all gates at first.
      dropout_rate: before the first convolution of each stage and before the head.
    """

    depths: Sequence[int]
    dims: Sequence[int]
    hidden_features: int = 100
    gate_bias: float = -2.0
    dropout_rate: float = 0.2
    num_classes: int | None = 10
    image_size: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 1), stage2 (2), stage3 (4)."""
        layers = self.layers(
            train,
            nn.initializers.lecun_uniform(),
            nn.initializers.normal(0.05),
            use_bias=True,
        )
        conv, dropout = layers.conv, layers.dropout(self.dropout_rate)
        block = functools.partial(
            HighwayLayer, conv=conv, act=nn.relu, gate_bias=self.gate_bias
        )
        out = {}

        x = nn.relu(conv(self.dims[0], 3, name="stem")(dropout(image)))
        out["stem"] = x
        for stage, (depth, features) in enumerate(
            zip(self.depths, self.dims, strict=True), start=1
        ):
            if stage > 1:
                x = dropout(ops.max_pool2d(x, 2))
                x = nn.relu(conv(features, 3, name=f"stage{stage}_conv")(x))
            options = [{}] * (depth - 1)
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        x = nn.relu(conv(self.hidden_features, 1, name="conv_last")(x))
        return self.classify(ops.global_avg_pool(x), out, layers.dense, dropout)


PAPERS = {"*": Paper("Srivastava et al.", 2015, "https://arxiv.org/abs/1507.06228")}

# Section 3.3. The network of 19 layers is that of the authors' published configuration.
VARIANTS = {
    "highway19_cifar": functools.partial(Highway, depths=(5, 6, 6), dims=(32, 80, 128)),
    "highway32_cifar": functools.partial(
        Highway, depths=(10, 10, 10), dims=(32, 48, 64)
    ),
}
