"""U-Net: Convolutional Networks for Biomedical Image Segmentation.

`unet` is the paper's: convolutions without padding, so that every pixel of its smaller
output has seen nothing but image. `unet_padded` is the form that people use since: the
output has the image's size, and convolutions are normalised.

Deviation: the rate of the paper's dropout is that of its published network.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models import Endpoints, ModuleDef, Paper
from cnnjax.nn import ConvTranspose
from cnnjax.segmentation._segmenter import Segmenter, check_sides


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with its normalisation if any, and ReLU.

    Attributes:
      features: output channels of both.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations, or None.
    """

    features: int
    conv: ModuleDef
    norm: ModuleDef | None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        for _ in range(2):
            x = self.conv(self.features, 3)(x)
            if self.norm is not None:
                x = self.norm()(x)
            x = nn.relu(x)
        return x


class UNet(Segmenter, kw_only=True):
    """U-Net (Fig. 1).

    Padded, it takes images whose sides are multiples of `stride`. Without padding the
    logits lack `margin` pixels on each side, and few sizes fit, e.g. 572 x 572; see
    `predict_tiled` for all others.

    Attributes:
      depth: poolings.
      features: channels of the first stage; each next one has twice as many.
      padding: of the 3x3 convolutions: "valid" for none, "same" for one pixel.
      batch_norm: whether these are normalised.
      skips: whether the expanding path sees the maps of the contracting one; without,
        it is an autoencoder.
      dropout_rate: of the last two stages of the contracting path.
    """

    num_classes: int | None = 2
    depth: int = 4
    features: int = 64
    padding: Literal["valid", "same"] = "valid"
    batch_norm: bool = False
    skips: bool = True
    dropout_rate: float = 0.5

    @property
    def stride(self) -> int:
        """Pixels from one place to the next of the last stage's map."""
        return 2**self.depth

    @property
    def margin(self) -> int:
        """Pixels by which the logits are smaller than the image, on each side."""
        return 2 * (3 * self.stride - 2) if self.padding == "valid" else 0

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stage1 (stride 1), stage2 (2), …, decoder2 (2), decoder1 (1).

        Raises:
          ValueError: if the images are of a size that does not fit; names near ones.
        """
        valid = self.padding == "valid"
        # Outputs of valid networks have 4 pixels more than a multiple of the stride.
        least = 3 % self.stride + 1 if valid else self.stride
        check_sides(image, self.stride, 2 * self.margin + least)
        init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # Section 3.
        layers = self.layers(train, init, use_bias=not self.batch_norm)
        block = functools.partial(
            DoubleConv,
            conv=functools.partial(layers.conv, padding=0 if valid else None),
            norm=layers.norm if self.batch_norm else None,
        )
        dropout = layers.dropout(self.dropout_rate)
        out, x = {}, image

        for stage in range(1, self.depth + 2):
            x = x if stage == 1 else ops.max_pool2d(x, 2)
            x = block(self.features * 2 ** (stage - 1), name=f"stage{stage}")(x)
            x = out[f"stage{stage}"] = dropout(x) if stage >= self.depth else x
        for stage in range(self.depth, 0, -1):
            features = self.features * 2 ** (stage - 1)
            x = ConvTranspose(
                features,
                (2, 2),
                (2, 2),
                kernel_init=init,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=f"up{stage}",
            )(x)
            if self.skips:
                x = jnp.concatenate([_crop(out[f"stage{stage}"], x), x], axis=-1)
            x = out[f"decoder{stage}"] = block(features, name=f"decoder{stage}")(x)
        return self.classify_pixels(x, out, layers.conv)


def _crop(x: Array, like: Array) -> Array:
    """Returns the middle of x that has the size of another map."""
    height, width = like.shape[1:3]
    top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    return x[:, top : top + height, left : left + width]


PAPERS = {"*": Paper("Ronneberger et al.", 2015, "https://arxiv.org/abs/1505.04597")}

VARIANTS = {
    "unet": functools.partial(UNet, image_size=572),
    "unet_padded": functools.partial(
        UNet, padding="same", batch_norm=True, dropout_rate=0.0, image_size=256
    ),
}
VARIANTS["unet_padded_16"] = functools.partial(VARIANTS["unet_padded"], features=16)
