"""VGG: Very Deep Convolutional Networks for Large-Scale Image Recognition.

Deviations, those of the reference implementation: the `_bn` variants normalise after
each convolution; weights are initialised after He et al. instead of from a shallower
network. The last maps are averaged to 7x7 where images are not of the published size.
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


class ConvBlock(nn.Module):
    """A 3x3 convolution, its normalisation if any, its activation.

    Attributes:
      features: output channels.
      conv: constructor of the convolution.
      norm: constructor of the normalisation, or None.
      act: activation.
    """

    features: int
    conv: ModuleDef
    norm: ModuleDef | None
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c2"]:
        x = self.conv(self.features, 3, use_bias=True)(x)
        if self.norm is not None:
            x = self.norm()(x)
        return self.act(x)


class VGG(StagedClassifier, kw_only=True):
    """VGG classifier; images are 32x32 at least.

    Attributes:
      depths: number of convolutions in each stage.
      dims: channels of each stage.
      batch_norm: whether convolutions are normalised.
      hidden_features: of the two dense layers before the head; 0 leaves them out.
      dropout_rate: after each of these two.
    """

    depths: Sequence[int]
    dims: Sequence[int] = (64, 128, 256, 512, 512)
    batch_norm: bool = False
    hidden_features: int = 4096
    dropout_rate: float = 0.5

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (stride 1), stage1 (2), stage2 (4), … stage5 (32).

        The stem is the first convolution; stages end with their pooling, which leaves
        an odd pixel out.
        """
        layers = self.layers(train, he_normal, nn.initializers.normal(0.01))
        block = functools.partial(
            ConvBlock,
            conv=layers.conv,
            norm=layers.norm if self.batch_norm else None,
            act=nn.relu,
        )
        dropout = layers.dropout(self.dropout_rate)
        out = {}

        x = out["stem"] = block(self.dims[0], name="stem")(image)
        for stage, (depth, features) in enumerate(
            zip(self.depths, self.dims, strict=True), start=1
        ):
            # The stem is one of the first stage's; VGG 11 has no other there.
            blocks = depth - 1 if stage == 1 else depth
            if blocks > 0:
                x = self.run_stage(x, stage, block, [{"features": features}] * blocks)
            x = out[f"stage{stage}"] = ops.max_pool2d(x, 2)

        x = ops.adaptive_avg_pool2d(x, 7)
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # The reference's order.
        if self.hidden_features:
            x = nn.relu(layers.dense(self.hidden_features, name="fc1")(x))
            x = nn.relu(layers.dense(self.hidden_features, name="fc2")(dropout(x)))
        return self.classify(x, out, layers.dense, dropout)


PAPERS = {"*": Paper("Simonyan and Zisserman", 2014, "https://arxiv.org/abs/1409.1556")}

# Table 1, configurations A, B, D and E.
_DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
VARIANTS = {
    name + suffix: functools.partial(VGG, depths=depths, batch_norm=bool(suffix))
    for name, depths in _DEPTHS.items()
    for suffix in ("", "_bn")
}
