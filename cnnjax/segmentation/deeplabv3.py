"""DeepLab v3: Rethinking Atrous Convolution for Semantic Image Segmentation.

Deviations, those of the reference implementation: one more 3x3 convolution and dropout
stand before the head; batch statistics run with a momentum of 0.9 instead of 0.9997;
there is no multi-grid in the last stage.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax.models import Activation, Endpoints, ModuleDef, Paper, resnet
from cnnjax.segmentation._segmenter import DilatedSegmenter


FEATURES = 256  # Channels of every layer above the classifier (section 3.3).


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: several dilations, and the mean, side by side.

    Attributes:
      rates: dilations of the 3x3 convolutions.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      act: activation.
      dropout: of what comes out.
    """

    rates: Sequence[int]
    conv: ModuleDef
    norm: ModuleDef
    act: Activation
    dropout: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c2"]:
        mean = x.mean((1, 2), keepdims=True)
        sources = [(x, 1, 1), *((x, 3, rate) for rate in self.rates), (mean, 1, 1)]
        branches = []
        for source, kernel_size, rate in sources:
            y = self.conv(FEATURES, kernel_size, kernel_dilation=rate)(source)
            y = self.act(self.norm()(y))
            branches.append(jnp.broadcast_to(y, (*x.shape[:3], FEATURES)))
        y = self.conv(FEATURES, name="conv_proj")(jnp.concatenate(branches, axis=-1))
        return self.dropout(self.act(self.norm(name="norm_proj")(y)))


class DeepLab(DilatedSegmenter, kw_only=True):
    """What both versions of DeepLab are told.

    Attributes:
      dropout_rate: of what the pyramid returns.
    """

    dropout_rate: float = 0.5

    def pyramid(self, layers, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c2"]:
        """Runs the pyramid; its dilations are in proportion to the maps' size."""
        return ASPP(
            rates=[rate * 16 // self.output_stride for rate in (6, 12, 18)],
            conv=layers.conv,
            norm=layers.norm,
            act=nn.relu,
            dropout=layers.dropout(self.dropout_rate),
            name="aspp",
        )(x)


class DeepLabV3(DeepLab, kw_only=True):
    """DeepLab v3."""

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: the classifier's, then aspp and pre_logits (output_stride)."""
        layers = self.layers(train)
        maps, out = self.run_backbone(image, train)
        x = out["aspp"] = self.pyramid(layers, maps[max(maps)])
        x = layers.conv(FEATURES, 3, name="conv")(x)
        x = nn.relu(layers.norm(name="norm")(x))
        return self.classify_pixels(x, out, layers.conv, size=image.shape[1:3])


PAPERS = {"*": Paper("Chen et al.", 2017, "https://arxiv.org/abs/1706.05587")}

VARIANTS = {
    f"deeplabv3_{name}": functools.partial(DeepLabV3, classifier=resnet.VARIANTS[name])
    for name in ("resnet50", "resnet101")
}
