"""Fully convolutional networks on dilated ResNets, as torchvision has them.

They differ from those of Long et al. (`fcn.py`): the ResNet keeps to stride 8 by
dilation (Yu and Koltun, 2015, https://arxiv.org/abs/1511.07122) instead of adding finer
maps, one more 3x3 convolution looks at its last map, and scores are interpolated.
"""

import functools

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax.models import Endpoints, Paper, resnet
from cnnjax.segmentation._segmenter import DilatedSegmenter


class DilatedFCN(DilatedSegmenter, kw_only=True):
    """Fully convolutional network on a dilated classifier.

    Attributes:
      dropout_rate: before the head.
    """

    dropout_rate: float = 0.1

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: the classifier's; `pre_logits` have the stride of its last map."""
        layers = self.layers(train)
        maps, out = self.run_backbone(image, train)
        x = maps[max(maps)]
        x = layers.conv(x.shape[-1] // 4, 3, name="conv")(x)
        x = nn.relu(layers.norm(name="norm")(x))
        return self.classify_pixels(
            x, out, layers.conv, layers.dropout(self.dropout_rate), image.shape[1:3]
        )


PAPERS = {"*": Paper("Long et al.", 2015, "https://arxiv.org/abs/1411.4038")}

VARIANTS = {
    f"fcn_{name}": functools.partial(DilatedFCN, classifier=resnet.VARIANTS[name])
    for name in ("resnet50", "resnet101")
}
