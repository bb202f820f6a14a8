"""ConvNeXt: "A ConvNet for the 2020s" (Liu et al., 2022).

Deviation: the 1x1 convolutions of a block are dense layers, which is the same function.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Endpoints, ModuleDef, Paper
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import LayerScale, Mlp


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, norm, 1x1 to four times the channels, 1x1 back (Fig. 4).

    Attributes:
      conv: constructor of the convolution.
      norm: constructor of the normalisation.
      dense: constructor of the 1x1 convolutions.
      layer_scale: constructor of the scale of the residual branch.
      drop_path: constructor of its stochastic depth.
    """

    conv: ModuleDef
    norm: ModuleDef
    dense: ModuleDef
    layer_scale: ModuleDef
    drop_path: ModuleDef

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], drop_path_rate: float | Array
    ) -> Float[Array, "n h w c"]:
        channels = x.shape[-1]
        y = self.conv(channels, 7, feature_group_count=channels)(x)
        y = self.layer_scale()(Mlp(self.dense)(self.norm()(y)))
        return x + self.drop_path(drop_path_rate)(y)


class ConvNeXt(StagedClassifier, kw_only=True):
    """ConvNeXt classifier.

    Attributes:
      depths: number of blocks in each stage.
      features: channels of the first stage; each further one has twice as many.
      drop_path_rate: probability of leaving out the last block; that of the others
        grows linearly from 0 at the first.
    """

    depths: Sequence[int]
    features: int
    drop_path_rate: float

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem, stage1 (stride 4), stage2 (8), stage3 (16), stage4 (32)."""
        # The reference truncates at -2 and 2, a hundred standard deviations away.
        init = nn.initializers.normal(0.02)
        layers = self.layers(train, init, init, use_bias=True, epsilon=1e-6)
        block = functools.partial(
            ConvNeXtBlock,
            conv=layers.conv,
            norm=layers.layer_norm,
            dense=layers.dense,
            layer_scale=functools.partial(LayerScale, param_dtype=self.param_dtype),
            drop_path=layers.drop_path,
        )
        rates = np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist()
        out = {}

        x = layers.conv(self.features, 4, 4, 0, name="stem")(image)
        x = out["stem"] = layers.layer_norm(name="stem_norm")(x)
        for stage, depth in enumerate(self.depths, start=1):
            if stage > 1:
                x = layers.layer_norm(name=f"stage{stage}_downsample_norm")(x)
                x = layers.conv(
                    2 * x.shape[-1], 2, 2, 0, name=f"stage{stage}_downsample"
                )(x)
            now, rates = rates[:depth], rates[depth:]
            x = out[f"stage{stage}"] = self.run_stage(
                x, stage, block, [{}] * depth, now
            )
        x = layers.layer_norm(name="head_norm")(ops.global_avg_pool(x))
        return self.classify(x, out, layers.dense)


PAPERS = {"*": Paper("Liu et al.", 2022, "https://arxiv.org/abs/2201.03545")}

# Section 3: channels of the first stage and blocks of the third (the others have 3).
# Table 5: stochastic depth.
VARIANTS = {
    f"convnext_{size}": functools.partial(
        ConvNeXt, depths=(3, 3, depth, 3), features=features, drop_path_rate=rate
    )
    for size, features, depth, rate in (
        ("tiny", 96, 9, 0.1),
        ("small", 96, 27, 0.4),
        ("base", 128, 27, 0.5),
        ("large", 192, 27, 0.5),
    )
}
