"""FitNets: Hints for Thin Deep Nets. The student of 19 layers.

It is to be trained with hints from a wider teacher, which is a matter of the loss; its
stages are among the endpoints for that.

Deviation: the paper's 2.5 million parameters need two linear maps for each dense maxout
unit, which is the default here; the authors' published configuration has five, with
which there are 2.74 million (`hidden_pieces=5`).
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Endpoints, Paper
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import Maxout


class FitNet(StagedClassifier, kw_only=True):
    """FitNet classifier of small images.

    Attributes:
      dims: channels of the 3x3 convolutions of each stage.
      hidden_features: of the dense layer.
      hidden_pieces: linear maps for each of them.
      dropout_rate: before the dense layer and before the head; the paper has none.
    """

    dims: Sequence[Sequence[int]]
    hidden_features: int = 500
    hidden_pieces: int = 2
    dropout_rate: float = 0.0
    num_classes: int | None = 10
    image_size: int = 32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (the image), stage1 (stride 1), stage2 (2), stage3 (4)."""
        uniform = functools.partial(jax.random.uniform, minval=-0.005, maxval=0.005)
        layers = self.layers(train, uniform, uniform, use_bias=True)
        dropout = layers.dropout(self.dropout_rate)
        conv = functools.partial(layers.conv, kernel_size=3)
        block = functools.partial(Maxout, pieces=2, linear=conv)
        out = {"stem": image}

        x = image
        for stage, dims in enumerate(self.dims, start=1):
            x = x if stage == 1 else ops.max_pool2d(x, 2)
            options = [{"features": features} for features in dims]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)

        # A window of 8x8 there, which is all of a published image's map.
        x = dropout(x.max(axis=(1, 2)))
        dense = functools.partial(Maxout, pieces=self.hidden_pieces)
        x = dense(self.hidden_features, linear=layers.dense, name="fc1")(x)
        return self.classify(x, out, layers.dense, dropout)


PAPERS = {"*": Paper("Romero et al.", 2014, "https://arxiv.org/abs/1412.6550")}

# Appendix, FitNet 4: 17 convolutions, a dense layer, the head.
VARIANTS = {
    "fitnet19_cifar": functools.partial(
        FitNet, dims=((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6)
    )
}
