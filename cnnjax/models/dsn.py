"""DSN: Deeply-Supervised Nets, for CIFAR.

Deviations: the companion classifiers' losses are the training's business, which finds
their logits among the endpoints (the paper adds squared hinge losses that fade away).
"""

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Endpoints, Paper
from cnnjax.models._maps import MapClassifier
from cnnjax.nn import MlpConv


class DSN(MapClassifier, kw_only=True):
    """Network In Network whose hidden layers have classifiers of their own.

    Attributes:
      dims: channels of the convolutions of each mlpconv layer; the head is the last
        convolution of the third.
      kernel_sizes: rows and columns of the first convolution of each.
      companions: whether there are companion classifiers. They take images only of the
        size that the model was initialised with.
      dropout_rate: after each pooling.
    """

    dims: Sequence[Sequence[int]] = ((192, 160, 96), (192, 192, 192), (192, 192))
    kernel_sizes: Sequence[int] = (5, 5, 3)
    companions: bool = True
    dropout_rate: float = 0.5
    num_classes: int | None = 10
    image_size: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (the image), stage1 (stride 1), stage2 (2), stage3 (4).

        And `aux_logits1`, … `aux_logits3` of the companions, which look at the first
        convolution of each stage before its activation.
        """
        layers = self.layers(
            train,
            nn.initializers.normal(0.05),
            nn.initializers.lecun_uniform(),
            use_bias=True,
        )
        dropout = layers.dropout(self.dropout_rate)
        out = {"stem": image}

        x = image
        for stage, (features, size) in enumerate(
            zip(self.dims, self.kernel_sizes, strict=True), start=1
        ):
            if stage > 1:
                # The authors' ceil mode: the last window may stick out.
                x = dropout(ops.max_pool2d(x, 3, 2, ((0, 1), (0, 1))))
            block = MlpConv(
                features, size, layers.conv, nn.relu, name=f"stage{stage}_block1"
            )
            x, response = block(x)
            out[f"stage{stage}"] = x
            if self.companions and self.num_classes is not None:
                companion = layers.dense(self.num_classes, name=f"aux_head{stage}")
                out[f"aux_logits{stage}"] = companion(response.reshape(x.shape[0], -1))
        return self.classify_maps(x, out, layers.conv)


PAPERS = {"*": Paper("Lee et al.", 2014, "https://arxiv.org/abs/1409.5185")}

# Section 3.2: the network of Lin et al., 2013, with the authors' published
# configuration of companions.
VARIANTS = {"dsn_cifar": DSN}
