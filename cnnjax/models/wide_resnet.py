"""Wide Residual Networks (Zagoruyko and Komodakis, 2016), for small images.

Those for large images are `wide_resnet50_2` and its kin, of the file `resnet`.
"""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import errors, ops
from cnnjax.models._classifier import (
    Activation,
    Endpoints,
    ModuleDef,
    Paper,
)
from cnnjax.models._stages import StagedClassifier


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after its norm and activation (Fig. 1 b and d).

    Attributes:
      features: output channels.
      strides: of the first convolution.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      dropout: constructor of the dropout between the convolutions.
      act: activation.
    """

    features: int
    strides: int
    conv: ModuleDef
    norm: ModuleDef
    dropout: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        y = self.act(self.norm()(x))
        if x.shape[-1] != self.features or self.strides != 1:
            x = self.conv(self.features, 1, self.strides, name="conv_proj")(y)
        y = self.conv(self.features, 3, self.strides, name="Conv_0")(y)
        y = self.dropout()(self.act(self.norm()(y)))
        return x + self.conv(self.features, 3, name="Conv_1")(y)


class WideResNet(StagedClassifier, kw_only=True):
    """WRN-depth-width: three stages of 16, 32 and 64 channels times the width.

    Attributes:
      depth: number of convolutions, 6 n + 4 for n blocks in each stage.
      width: k, the widening factor.
      dropout_rate: of dropout in each block; the paper has 0.3 on CIFAR.
    """

    depth: int
    width: int
    dropout_rate: float = 0.0
    num_classes: int | None = 10
    image_size: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 1), stage2 (2), stage3 (4).

        Stages end before their normalisation.

        Raises:
          UserError: if there is no network of this depth.
        """
        blocks, rest = divmod(self.depth - 4, 6)
        if blocks < 1 or rest:
            raise errors.UserError(f"depth must be 10, 16, 22, …, not {self.depth}")
        # The reference's, after He et al., 2015, section 2.2, eq. 10.
        layers = self.layers(train, nn.initializers.he_uniform())
        conv, norm = layers.conv, layers.norm
        block = functools.partial(
            WideBlock,
            conv=conv,
            norm=norm,
            dropout=functools.partial(layers.dropout, self.dropout_rate),
            act=nn.relu,
        )
        out = {}

        x = out["stem"] = conv(16, 3, name="stem")(image)
        for stage in (1, 2, 3):
            options = [
                {
                    "features": 16 * 2 ** (stage - 1) * self.width,
                    "strides": 2 if stage > 1 and j == 0 else 1,
                }
                for j in range(blocks)
            ]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        x = nn.relu(norm(name="final_norm")(x))
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {
    "*": Paper("Zagoruyko and Komodakis", 2016, "https://arxiv.org/abs/1605.07146")
}

# Table 4 (depth, width).
VARIANTS = {
    f"wrn_{depth}_{width}_cifar": functools.partial(
        WideResNet, depth=depth, width=width
    )
    for depth, widths in (
        (40, (1, 2, 4, 8)),
        (28, (10, 12)),
        (22, (8, 10)),
        (16, (8, 10)),
    )
    for width in widths
}
