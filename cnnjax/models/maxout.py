"""Maxout Networks, for CIFAR-10 with augmentation.

Deviations: the images that dropout leaves are scaled up, so that their mean stays, as
the hidden layers' (the authors scale only the latter). The limits of kernels' norms are
the optimiser's business.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Classifier, Endpoints, Paper
from cnnjax.nn import Maxout


class MaxoutNet(Classifier, kw_only=True):
    """Maxout classifier; the images have the size that it was initialised with.

    Attributes:
      dims: channels of the three convolutional layers.
      hidden_features: of the dense layer.
      input_dropout_rate: of the images.
      dropout_rate: before each other layer.
    """

    dims: Sequence[int] = (96, 192, 192)
    hidden_features: int = 500
    input_dropout_rate: float = 0.2
    dropout_rate: float = 0.5
    num_classes: int | None = 10
    image_size: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (the image), stage1 (stride 2), stage2 (4), stage3 (8).

        Each stage ends with its pooling. Even kernels and wide windows change sizes by
        up to one pixel from h / stride.
        """
        uniform = functools.partial(jax.random.uniform, minval=-0.005, maxval=0.005)
        layers = self.layers(train, uniform, uniform, use_bias=True)
        dropout = layers.dropout(self.dropout_rate)
        out = {"stem": image}

        x = layers.dropout(self.input_dropout_rate)(image)
        # Rows and columns of the kernel, its padding, the window that is pooled.
        shapes = ((8, 4, 4), (8, 3, 4), (5, 3, 2))
        for stage, (features, (size, padding, window)) in enumerate(
            zip(self.dims, shapes, strict=True), start=1
        ):
            x = x if stage == 1 else dropout(x)
            conv = functools.partial(layers.conv, kernel_size=size, padding=padding)
            x = Maxout(features, 2, conv, name=f"stage{stage}_block1")(x)
            x = out[f"stage{stage}"] = ops.max_pool2d(x, window, 2, ceil_mode=True)

        x = dropout(x.reshape(x.shape[0], -1))
        x = Maxout(self.hidden_features, 5, layers.dense, name="fc1")(x)
        return self.classify(x, out, layers.dense, dropout)


PAPERS = {"*": Paper("Goodfellow et al.", 2013, "https://arxiv.org/abs/1302.4389")}

# Section 5.2; its numbers are those of the authors' published configuration.
VARIANTS = {"maxout_cifar": MaxoutNet}
