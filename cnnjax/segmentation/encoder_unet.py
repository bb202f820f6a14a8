"""U-Net whose contracting path is a classifier.

Ronneberger et al.'s expanding path (`unet.py`), padded and normalised, on the last map
of the classifier at each stride. Maps are interpolated to the size of the next finer
one, so that images may have any size; so are the logits where the classifier has no map
of the images' size.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models import Endpoints, Paper, resnet, vgg
from cnnjax.segmentation._segmenter import BackboneSegmenter
from cnnjax.segmentation.unet import DoubleConv


class EncoderUNet(BackboneSegmenter, kw_only=True):
    """U-Net on any classifier with maps of several strides.

    Attributes:
      most_features: channels of a decoder's stage, where the map that it joins has not
        less.
    """

    most_features: int = 256

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: the classifier's; decoder16, … and pre_logits, down to its finest.

        Raises:
          ValueError: if the images are so small that strides cannot be told apart.
        """
        layers = self.layers(train)
        block = functools.partial(DoubleConv, conv=layers.conv, norm=layers.norm)
        maps, out = self.run_backbone(image, train)
        *finer, (_, x) = maps.items()
        for stride, y in reversed(finer):
            x = ops.resize_bilinear(x, y.shape[1:3])
            x = jnp.concatenate([y, x], axis=-1)
            name, features = f"decoder{stride}", min(y.shape[-1], self.most_features)
            x = out[name] = block(features, name=name)(x)
        return self.classify_pixels(x, out, layers.conv, size=image.shape[1:3])


PAPERS = {"*": Paper("Ronneberger et al.", 2015, "https://arxiv.org/abs/1505.04597")}

_CLASSIFIERS = {
    name: resnet.VARIANTS[name] for name in ("resnet18", "resnet34", "resnet50")
} | {"vgg16_bn": functools.partial(vgg.VARIANTS["vgg16_bn"], hidden_features=0)}
VARIANTS = {
    f"unet_{name}": functools.partial(EncoderUNet, classifier=classifier)
    for name, classifier in _CLASSIFIERS.items()
}
