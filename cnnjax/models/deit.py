"""DeiT: "Training data-efficient image transformers & distillation through attention".

It is here to be compared with (Touvron et al., 2020); its only convolution is that of
the patches. These are the networks without a distillation token.

Deviation: stochastic depth is the paper's (Table 9); the reference begins without.
"""

import functools
import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax.errors import UserError
from cnnjax.models._classifier import Endpoints, ModuleDef, Paper
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import Mlp, SelfAttention


class TransformerBlock(nn.Module):
    """Self-attention and dense layers, each after a norm and beside a shortcut.

    Attributes:
      heads: of the attention.
      norm: constructor of the normalisations.
      dense: constructor of the dense layers.
      drop_path: constructor of the stochastic depth of residual branches.
    """

    heads: int
    norm: ModuleDef
    dense: ModuleDef
    drop_path: ModuleDef

    @nn.compact
    def __call__(
        self, x: Float[Array, "n t c"], drop_path_rate: float | Array
    ) -> Float[Array, "n t c"]:
        y = SelfAttention(self.heads, self.dense)(self.norm()(x))
        x += self.drop_path(drop_path_rate)(y)
        y = Mlp(self.dense)(self.norm()(x))
        return x + self.drop_path(drop_path_rate)(y)


class DeiT(StagedClassifier, kw_only=True):
    """Vision transformer classifier; it takes images of `image_size` only.

    Attributes:
      features: of a token; 64 for each head.
      depth: number of blocks.
      patch: pixels along a side of a patch.
      drop_path_rate: probability of leaving out the last block; that of the others
        grows linearly from 0 at the first.
    """

    features: int
    depth: int = 12
    patch: int = 16
    drop_path_rate: float = 0.1

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 16), both without the class token.

        Raises:
          UserError: if the image has another size than `image_size`, since positions
            have parameters.
        """
        n, height, width, _ = image.shape
        if (height, width) != (self.image_size, self.image_size):
            raise UserError(
                f"images are {height}x{width}, but the model was made with "
                f"image_size={self.image_size}"
            )
        # The reference truncates at -2 and 2, a hundred standard deviations away.
        init = nn.initializers.normal(0.02)
        layers = self.layers(train, dense_init=init, use_bias=True, epsilon=1e-6)
        block = functools.partial(
            TransformerBlock,
            heads=self.features // 64,
            norm=layers.layer_norm,
            dense=layers.dense,
            drop_path=layers.drop_path,
        )
        rates = np.linspace(0, self.drop_path_rate, self.depth).tolist()

        x = layers.conv(self.features, self.patch, self.patch, 0, name="stem")(image)
        shape = (1, *x.shape[1:])
        token = self.param(
            "class_token",
            nn.initializers.normal(1e-6),
            (1, 1, self.features),
            self.param_dtype,
        )
        position = self.param(
            "position_embedding",
            init,
            (1, 1 + math.prod(shape[1:3]), self.features),
            self.param_dtype,
        )
        token, position = token.astype(x.dtype), position.astype(x.dtype)
        x += position[:, 1:].reshape(shape)
        out = {"stem": x}
        token = jnp.broadcast_to(token + position[:, :1], (n, 1, self.features))
        x = jnp.concatenate([token, x.reshape(n, -1, self.features)], axis=1)
        x = self.run_stage(x, 1, block, [{}] * self.depth, rates)
        out["stage1"] = x[:, 1:].reshape(out["stem"].shape)
        x = layers.layer_norm(name="head_norm")(x[:, 0])
        return self.classify(x, out, layers.dense)


PAPERS = {"*": Paper("Touvron et al.", 2020, "https://arxiv.org/abs/2012.12877")}

# Table 1.
VARIANTS = {
    f"deit_{size}": functools.partial(DeiT, features=features)
    for size, features in (("small", 384), ("base", 768))
}
