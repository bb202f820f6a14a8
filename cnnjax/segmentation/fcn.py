"""FCN: Fully Convolutional Networks for Semantic Segmentation.

VGG's dense layers are convolutions here, so that it scores every place of its last map;
FCN-16s and FCN-8s add the scores of finer maps.

Deviations: images are padded before the 7x7 convolution that was the first dense layer
(by 3 pixels of its input) instead of by 100 pixels before all; the last upsampling is
learned as the others are, from the same beginning. Maps are scored as they are, without
the scales that the authors' later "at once" networks have.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from flax.typing import Dtype
from jaxtyping import Array, Float

from cnnjax.models import Endpoints, Paper, map_at, vgg
from cnnjax.nn import ConvTranspose
from cnnjax.segmentation._segmenter import BackboneSegmenter, check_sides


def bilinear_init(
    key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32
) -> Float[Array, "k k c m"]:
    """Makes a transposed convolution interpolate each channel on its own.

    `kernel[a, b, i, i] = f[a] f[b]` with `f[a] = 1 - |a - (K - 1) / 2| / (K / 2)`, and
    0 between channels. With an even K, a stride of K / 2 and a padding of K / 4, that
    is bilinear interpolation of an image around which there is nothing but 0.

    Args:
      key: not used.
      shape: [K, K, c, m].
      dtype: of the kernel.
    """
    size, _, channels, features = shape
    line = 1 - abs(jnp.arange(size) - (size - 1) / 2) / (size / 2)
    kernel = jnp.outer(line, line)[:, :, None, None]
    return (kernel * jnp.eye(channels, features)[None, None]).astype(dtype)


class FCN(BackboneSegmenter, kw_only=True):
    """Fully convolutional network with transposed convolutions.

    Images have sides that are multiples of 32. The classifier needs maps of the strides
    from `finest_stride` to 32.

    Attributes:
      finest_stride: of the finest map that is scored: FCN-32s, -16s or -8s.
      hidden_features: of the two layers before the head, VGG's dense ones.
      dropout_rate: after each of these two.
    """

    finest_stride: Literal[8, 16, 32] = 32
    hidden_features: int = 4096
    dropout_rate: float = 0.5

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: the classifier's; `scores32`, … of each map; pre_logits (32).

        Raises:
          ValueError: if the images have other sides; names near ones.
        """
        check_sides(image, 32, 32)
        layers = self.layers(train)
        dropout = layers.dropout(self.dropout_rate)
        maps, out = self.run_backbone(image, train)
        conv = functools.partial(layers.conv, use_bias=True)
        x = nn.relu(conv(self.hidden_features, 7, name="fc6")(map_at(maps, 32)))
        x = nn.relu(conv(self.hidden_features, name="fc7")(dropout(x)))
        x, out = self.classify_pixels(x, out, conv, dropout)
        if self.num_classes is None:
            return x, out
        x = out["scores32"] = out.pop("logits")
        # Finer maps begin without a say.
        score = functools.partial(
            conv, self.num_classes, kernel_init=nn.initializers.zeros
        )
        for stride in (16, 8):
            if stride >= self.finest_stride:
                finer = score(name=f"score{stride}")(map_at(maps, stride))
                x = out[f"scores{stride}"] = self._upsample(x, 2, f"up{stride}") + finer
        logits = out["logits"] = self._upsample(x, self.finest_stride, "up")
        return logits, out

    def _upsample(self, x: Array, factor: int, name: str) -> Array:
        side = factor // 2
        return ConvTranspose(
            x.shape[-1],
            (2 * factor, 2 * factor),
            (factor, factor),
            ((side, side), (side, side)),
            use_bias=False,
            kernel_init=bilinear_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=name,
        )(x)


PAPERS = {"*": Paper("Long et al.", 2015, "https://arxiv.org/abs/1411.4038")}

_VGG16 = functools.partial(vgg.VARIANTS["vgg16"], hidden_features=0)
VARIANTS = {
    f"fcn{stride}s_vgg16": functools.partial(
        FCN, classifier=_VGG16, finest_stride=stride
    )
    for stride in (8, 16, 32)
}
