"""ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design."""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import Activation, Endpoints, ModuleDef, Paper
from cnnjax.models._stages import StagedClassifier


class SplitUnit(nn.Module):
    """Half of the channels pass, half are transformed; a shuffle mixes them (Fig. 3).

    With a stride (Fig. 3, d) both halves are made of all channels.

    Attributes:
      features: output channels, even.
      strides: of the 3x3 convolutions.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      act: activation.
    """

    features: int
    strides: int
    conv: ModuleDef
    norm: ModuleDef
    act: Activation

    def pointwise(self, x: Array, name: str) -> Array:
        x = self.conv(self.features // 2, name=name)(x)
        return self.act(self.norm(name=f"{name}_norm")(x))

    def depthwise(self, x: Array, name: str) -> Array:
        channels = x.shape[-1]
        x = self.conv(
            channels, 3, self.strides, feature_group_count=channels, name=name
        )(x)
        return self.norm(name=f"{name}_norm")(x)

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        if self.strides == 1:
            kept, y = jnp.split(x, 2, axis=-1)
        else:
            kept = self.depthwise(x, "shortcut_depthwise")
            kept, y = self.pointwise(kept, "shortcut_pointwise"), x
        y = self.depthwise(self.pointwise(y, "reduce"), "depthwise")
        y = self.pointwise(y, "expand")
        return ops.channel_shuffle(jnp.concatenate([kept, y], axis=-1), 2)


class ShuffleNetV2(StagedClassifier, kw_only=True):
    """ShuffleNet V2 classifier.

    Attributes:
      dims: channels of each stage.
      last_dim: channels before the classifier.
      depths: number of units in each stage.
    """

    dims: Sequence[int]
    last_dim: int = 1024
    depths: Sequence[int] = (4, 8, 4)  # Table 5.

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (stride 4), stage1 (8), stage2 (16), stage3 (32).

        The paper numbers its stages from 2.
        """
        layers = self.layers(train)
        conv, norm = layers.conv, layers.norm
        block = functools.partial(SplitUnit, conv=conv, norm=norm, act=nn.relu)
        out = {}

        x = nn.relu(norm(name="stem_norm")(conv(24, 3, 2, name="stem")(image)))
        x = out["stem"] = ops.max_pool2d(x, 3, 2, 1)
        for stage, (dim, depth) in enumerate(
            zip(self.dims, self.depths, strict=True), start=1
        ):
            options = [
                {"features": dim, "strides": 2 if j == 0 else 1} for j in range(depth)
            ]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        x = nn.relu(norm(name="last_norm")(conv(self.last_dim, name="last")(x)))
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {"*": Paper("Ma et al.", 2018, "https://arxiv.org/abs/1807.11164")}

# Table 5: the three stages, and the last convolution.
VARIANTS = {
    f"shufflenet_v2_{width}": functools.partial(
        ShuffleNetV2, dims=dims, last_dim=last_dim
    )
    for width, dims, last_dim in (
        ("x0_5", (48, 96, 192), 1024),
        ("x1_0", (116, 232, 464), 1024),
        ("x1_5", (176, 352, 704), 1024),
        ("x2_0", (244, 488, 976), 2048),
    )
}
