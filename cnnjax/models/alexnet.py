"""AlexNet: ImageNet Classification with Deep Convolutional Neural Networks.

Deviations, those of the reference implementation: one column of 64, 192, 384, 256 and
256 channels (Krizhevsky, 2014, https://arxiv.org/abs/1404.5997) instead of two that
were spread over two devices, and no local response normalisation. The last pooled maps
are averaged to 6x6 where images are not of the published size.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Classifier, Endpoints, Paper


class AlexNet(Classifier, kw_only=True):
    """AlexNet classifier; images are 63x63 at least.

    Attributes:
      dims: channels of the five convolutions.
      hidden_features: of the two dense layers before the head.
      dropout_rate: before each of these two.
    """

    dims: Sequence[int] = (64, 192, 384, 256, 256)
    hidden_features: int = 4096
    dropout_rate: float = 0.5

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (stride 8), stage1 (16), stage2 (32), each after its pooling.

        Without padding before them they are up to two pixels smaller than h / stride.
        """
        layers = self.layers(train, use_bias=True)
        conv, dense = layers.conv, layers.dense
        pool = functools.partial(ops.max_pool2d, window=3, strides=2)
        first, second, *others = self.dims
        out = {}

        x = nn.relu(conv(first, 11, 4, padding=2, name="stem")(image))
        x = out["stem"] = pool(x)
        x = nn.relu(conv(second, 5, name="stage1_conv1")(x))
        x = out["stage1"] = pool(x)
        for j, features in enumerate(others, start=1):
            x = nn.relu(conv(features, 3, name=f"stage2_conv{j}")(x))
        x = out["stage2"] = pool(x)

        x = ops.adaptive_avg_pool2d(x, 6)
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # The reference's order.
        for name in ("fc1", "fc2"):
            x = layers.dropout(self.dropout_rate)(x)
            x = nn.relu(dense(self.hidden_features, name=name)(x))
        return self.classify(x, out, dense)


PAPERS = {
    "*": Paper(
        "Krizhevsky et al.",
        2012,
        "https://papers.nips.cc/paper/2012/hash/"
        "c399862d3b9d6b76c8436e924a68c45b-Abstract.html",
    )
}

# Section 3.5, with the channels of Krizhevsky, 2014.
VARIANTS = {"alexnet": AlexNet}
