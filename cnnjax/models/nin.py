"""NIN: Network In Network, for CIFAR.

Deviations, those of the reference implementation: the second pooling takes means, a
ReLU follows the head.
"""

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Endpoints, Paper
from cnnjax.models._maps import MapClassifier
from cnnjax.nn import MlpConv


class NIN(MapClassifier, kw_only=True):
    """NIN classifier of small images.

    Attributes:
      dims: channels of the convolutions of each mlpconv layer; the head is the last
        convolution of the third.
      kernel_sizes: rows and columns of the first convolution of each.
      dropout_rate: after each pooling.
    """

    dims: Sequence[Sequence[int]] = ((192, 160, 96), (192, 192, 192), (192, 192))
    kernel_sizes: Sequence[int] = (5, 5, 3)
    dropout_rate: float = 0.5
    num_classes: int | None = 10
    image_size: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (the image), stage1 (stride 1), stage2 (2), stage3 (4)."""
        layers = self.layers(train, nn.initializers.he_uniform(), use_bias=True)
        dropout = layers.dropout(self.dropout_rate)
        first, second, third = (
            MlpConv(features, size, layers.conv, nn.relu, name=f"stage{stage}_block1")
            for stage, (features, size) in enumerate(
                zip(self.dims, self.kernel_sizes, strict=True), start=1
            )
        )
        out = {"stem": image}

        x, _ = first(image)
        out["stage1"] = x
        x, _ = second(dropout(ops.max_pool2d(x, 3, 2, 1)))
        out["stage2"] = x
        x, _ = third(dropout(ops.avg_pool2d(x, 3, 2, 1)))
        out["stage3"] = x
        return self.classify_maps(x, out, layers.conv, nn.relu)


PAPERS = {"*": Paper("Lin et al.", 2013, "https://arxiv.org/abs/1312.4400")}

# Section 4.1: three mlpconv layers; their channels are those of the authors' own
# configuration, which the reference has, too.
VARIANTS = {"nin_cifar": NIN}
