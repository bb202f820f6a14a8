"""DeepLab v3+: Encoder-Decoder with Atrous Separable Convolution.

As in its ablations (section 4.1), on ResNets and with plain convolutions. Deviations,
those of our DeepLab v3: a dropout rate of 0.5 where the paper names none, and a
momentum of 0.9 for batch statistics.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models import Endpoints, Paper, map_at, resnet
from cnnjax.segmentation.deeplabv3 import FEATURES, DeepLab


class DeepLabV3Plus(DeepLab, kw_only=True):
    """DeepLab v3+; the classifier needs a map of stride 4.

    Attributes:
      low_level_features: channels that the map of stride 4 is reduced to (Table 1).
    """

    output_stride: Literal[8, 16, 32] = 16
    low_level_features: int = 48

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: the classifier's, then aspp (output_stride), pre_logits (4)."""
        layers = self.layers(train)
        conv, norm = layers.conv, layers.norm
        maps, out = self.run_backbone(image, train)
        x = out["aspp"] = self.pyramid(layers, maps[max(maps)])
        low_level = conv(self.low_level_features, name="low_level")(map_at(maps, 4))
        low_level = nn.relu(norm(name="low_level_norm")(low_level))
        x = ops.resize_bilinear(x, low_level.shape[1:3])
        x = jnp.concatenate([low_level, x], axis=-1)
        for i in (1, 2):
            x = conv(FEATURES, 3, name=f"conv{i}")(x)
            x = nn.relu(norm(name=f"norm{i}")(x))
        return self.classify_pixels(x, out, conv, size=image.shape[1:3])


PAPERS = {"*": Paper("Chen et al.", 2018, "https://arxiv.org/abs/1802.02611")}

VARIANTS = {
    f"deeplabv3plus_{name}": functools.partial(
        DeepLabV3Plus, classifier=resnet.VARIANTS[name]
    )
    for name in ("resnet50", "resnet101")
}
