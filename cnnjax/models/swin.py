"""Swin Transformer: "Hierarchical Vision Transformer using Shifted Windows".

It is here to be compared with (Liu et al., 2021); its only convolution is that of the
patches.

Deviation: as in the reference, a map that does not fill its windows is padded with
zeros after the norm, and the padding takes part in the attention.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.typing import Dtype
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.errors import UserError
from cnnjax.models._classifier import Endpoints, ModuleDef, Paper
from cnnjax.models._stages import StagedClassifier
from cnnjax.nn import Mlp, SelfAttention


# A normal distribution, which the reference truncates at -2 and 2, a hundred standard
# deviations away.
INIT = nn.initializers.normal(0.02)


class WindowAttention(nn.Module):
    """Self-attention within windows, with a bias for each relative position (eq. 4).

    Attributes:
      heads: of the attention.
      window: pixels along a side of a window.
      shift: pixels by which the windows are moved down and right, cyclically; along an
        axis that one window covers they are not moved.
      dense: constructor of the projections.
      param_dtype: dtype of the biases.
    """

    heads: int
    window: int
    shift: int
    dense: ModuleDef
    param_dtype: Dtype

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        n, height, width, channels = x.shape
        window = self.window
        rows, columns = -(-height // window), -(-width // window)
        shape = rows * window, columns * window
        padding = ((0, 0), (0, shape[0] - height), (0, shape[1] - width), (0, 0))
        shifts = tuple(self.shift if side > window else 0 for side in shape)

        x = jnp.roll(jnp.pad(x, padding), [-shift for shift in shifts], (1, 2))
        x = x.reshape(n, rows, window, columns, window, channels).swapaxes(2, 3)
        x = x.reshape(n, rows * columns, window**2, channels)
        x = SelfAttention(self.heads, self.dense)(x, self._bias(shape, shifts))
        x = x.reshape(n, rows, columns, window, window, channels).swapaxes(2, 3)
        x = jnp.roll(x.reshape(n, *shape, channels), shifts, (1, 2))
        return x[:, :height, :width]

    def _bias(self, shape, shifts):
        """What is added to the scores: [1, windows, heads, window^2, window^2]."""
        table = self.param(
            "relative_position_bias_table",
            INIT,
            ((2 * self.window - 1) ** 2, self.heads),
            self.param_dtype,
        )
        places = np.indices((self.window, self.window)).reshape(2, -1)
        down, right = places[:, :, None] - places[:, None, :] + self.window - 1
        bias = jnp.asarray(table)[down * (2 * self.window - 1) + right]
        bias = bias.transpose(2, 0, 1)[None, None].astype(jnp.float32)
        if not any(shifts):
            return bias
        # Pixels that were moved across the border do not see those that were not.
        down, right = (
            np.arange(side) >= side - shift if shift else np.zeros(side, bool)
            for side, shift in zip(shape, shifts, strict=True)
        )
        part = 2 * down[:, None] + right
        part = part.reshape(shape[0] // self.window, self.window, -1, self.window)
        part = part.swapaxes(1, 2).reshape(-1, self.window**2)
        apart = part[:, :, None] != part[:, None, :]
        # exp(-100) is less than the least normal number of float32.
        return bias + jnp.where(apart, -100.0, 0.0)[None, :, None]


class SwinPair(nn.Module):
    """Two successive blocks, of which the second one's windows are shifted (Fig. 3b).

    Attributes:
      attention: constructor of the attention.
      window: pixels along a side of a window.
      norm: constructor of the normalisations.
      dense: constructor of the dense layers.
      drop_path: constructor of the stochastic depth of residual branches.
      drop_path_step: what the second block's rate has more than the first one's.
    """

    attention: ModuleDef
    window: int
    norm: ModuleDef
    dense: ModuleDef
    drop_path: ModuleDef
    drop_path_step: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "n h w c"], drop_path_rate: float | Array
    ) -> Float[Array, "n h w c"]:
        for i in (0, 1):
            rate = drop_path_rate + i * self.drop_path_step
            shift = i * (self.window // 2)
            y = self.attention(window=self.window, shift=shift)(self.norm()(x))
            x += self.drop_path(rate)(y)
            x += self.drop_path(rate)(Mlp(self.dense)(self.norm()(x)))
        return x


class PatchMerging(nn.Module):
    """Halves the rows and columns: of four pixels' channels it makes twice one's.

    Attributes:
      norm: constructor of the normalisation.
      dense: constructor of the dense layer.
    """

    norm: ModuleDef
    dense: ModuleDef

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        _, height, width, channels = x.shape
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        x = self.norm()(jnp.concatenate(quarters, axis=-1))
        return self.dense(2 * channels, use_bias=False)(x)


class Swin(StagedClassifier, kw_only=True):
    """Swin Transformer classifier.

    Attributes:
      depths: number of blocks in each stage, even. Two are a block of `run_stage`.
      features: channels of the first stage; each further one has twice as many.
      heads: of the first stage's attention; likewise.
      window: pixels along a side of a window.
      drop_path_rate: probability of leaving out the last block; that of the others
        grows linearly from 0 at the first.
    """

    depths: Sequence[int]
    features: int
    heads: int
    drop_path_rate: float
    window: int = 7

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem, stage1 (stride 4), stage2 (8), stage3 (16), stage4 (32).

        Raises:
          UserError: if a stage has an odd number of blocks.
        """
        if any(depth % 2 for depth in self.depths):
            raise UserError(f"stages have pairs of blocks; depths are {self.depths}")
        layers = self.layers(train, dense_init=INIT, use_bias=True)
        norm, dense = layers.layer_norm, layers.dense
        rates = np.linspace(0, self.drop_path_rate, sum(self.depths)).tolist()
        pair = functools.partial(
            SwinPair,
            window=self.window,
            norm=norm,
            dense=dense,
            drop_path=layers.drop_path,
            drop_path_step=rates[1],
        )
        out = {}

        x = layers.conv(self.features, 4, 4, 0, name="stem")(image)
        x = out["stem"] = norm(name="stem_norm")(x)
        for stage, depth in enumerate(self.depths, start=1):
            if stage > 1:
                x = PatchMerging(norm, dense, name=f"stage{stage}_merge")(x)
            attention = functools.partial(
                WindowAttention,
                heads=self.heads * 2 ** (stage - 1),
                dense=dense,
                param_dtype=self.param_dtype,
            )
            options = [{"attention": attention}] * (depth // 2)
            now, rates = rates[:depth:2], rates[depth:]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, pair, options, now)
        x = ops.global_avg_pool(norm(name="head_norm")(x))
        return self.classify(x, out, dense)


PAPERS = {"*": Paper("Liu et al.", 2021, "https://arxiv.org/abs/2103.14030")}


def _variants():
    """Section 3.3; stochastic depth: appendix A2.1; 384 pixels, window 12: Table 1."""
    sizes = {
        "t": {"features": 96, "heads": 3, "depths": (2, 2, 6, 2)},
        "s": {"features": 96, "heads": 3, "depths": (2, 2, 18, 2)},
        "b": {"features": 128, "heads": 4, "depths": (2, 2, 18, 2)},
    }
    rates = {"t": 0.2, "s": 0.3, "b": 0.5}
    variants = {
        f"swin_{size}": functools.partial(Swin, drop_path_rate=rates[size], **options)
        for size, options in sizes.items()
    }
    large = functools.partial(variants["swin_b"], window=12, image_size=384)
    return variants | {"swin_b_384": large}


VARIANTS = _variants()
