"""ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices.

Deviations, where the paper leaves things open:
- Numbers of channels that the groups do not divide are rounded up to the next one that
  they do (only in the stem and in the middle of units).
- The stem has 24 channels at width 1.5, too: the paper's 292 million
  multiply-accumulates for it need that.
- Squeeze-excite reduces by 16, as its paper advises, and comes before the shortcut is
  added, but after it is concatenated: both fit the paper's 527 million.
- The shallow variant has half of the units, and 0.7 times the channels instead of 0.5:
  the paper does not say how many, but that it takes 40 million multiply-accumulates.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import errors, ops
from cnnjax.models._classifier import Activation, Endpoints, ModuleDef, Paper
from cnnjax.models._stages import StagedClassifier


# Table 1: channels of the first stage by the number of groups; they double twice.
CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


def round_up(channels: int, groups: int) -> int:
    """Returns the next number of channels that groups divide."""
    return -(-channels // groups) * groups


class ShuffleUnit(nn.Module):
    """Grouped 1x1 convolution, shuffle, depthwise 3x3, grouped 1x1 (Fig. 2, b and c).

    With a stride the shortcut is an average, and joins by concatenation.

    Attributes:
      features: output channels.
      strides: of the 3x3 convolution.
      groups: of the 1x1 convolutions.
      first_groups: of the first of them.
      shuffle: whether channels are shuffled.
      squeeze_excite: constructor of a layer that weighs channels, or None.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      act: activation.
    """

    features: int
    strides: int
    first_groups: int
    groups: int
    shuffle: bool
    squeeze_excite: ModuleDef | None
    conv: ModuleDef
    norm: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        # Section 3.2: a quarter of the output's channels in the middle.
        middle = round_up(self.features // 4, self.groups)
        joins = self.strides > 1
        features = self.features - x.shape[-1] if joins else self.features

        y = self.conv(middle, feature_group_count=self.first_groups, name="reduce")(x)
        y = self.act(self.norm(name="reduce_norm")(y))
        if self.shuffle:
            y = ops.channel_shuffle(y, self.groups)
        y = self.conv(
            middle, 3, self.strides, feature_group_count=middle, name="depthwise"
        )(y)
        y = self.norm(name="depthwise_norm")(y)
        y = self.conv(features, feature_group_count=self.groups, name="expand")(y)
        y = self.norm(name="expand_norm")(y)
        if joins:
            y = jnp.concatenate([y, ops.avg_pool2d(x, 3, self.strides, 1)], axis=-1)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(self.features // 16, name="squeeze_excite")(y)
        return self.act(y if joins else x + y)


class ShuffleNetV1(StagedClassifier, kw_only=True):
    """ShuffleNet classifier.

    Attributes:
      groups: of the 1x1 convolutions: 1, 2, 3, 4 or 8.
      width: what the numbers of channels are multiplied by ("scale").
      depths: number of units in each stage.
      shuffle: whether channels are shuffled between the groups.
      squeeze_excite: whether channels are weighed at the end of each unit.
    """

    groups: int
    width: float = 1.0
    depths: Sequence[int] = (4, 8, 4)  # Table 1.
    shuffle: bool = True
    squeeze_excite: bool = False

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem (stride 4), stage1 (8), stage2 (16), stage3 (32).

        The paper numbers its stages from 2.
        """
        if self.groups not in CHANNELS:
            raise errors.UserError(
                f"groups must be of {[*CHANNELS]}, not {self.groups}"
            )
        layers = self.layers(train, nn.initializers.he_uniform())
        conv, norm = layers.conv, layers.norm
        block = functools.partial(
            ShuffleUnit,
            groups=self.groups,
            shuffle=self.shuffle,
            squeeze_excite=layers.squeeze_excite if self.squeeze_excite else None,
            conv=conv,
            norm=norm,
            act=nn.relu,
        )
        out = {}

        channels = int(24 * (self.width if self.width < 1 else self.width // 1))
        x = conv(round_up(channels, self.groups), 3, 2, name="stem")(image)
        x = nn.relu(norm(name="stem_norm")(x))
        x = out["stem"] = ops.max_pool2d(x, 3, 2, 1)
        for stage, depth in enumerate(self.depths, start=1):
            options = [
                {
                    "features": int(CHANNELS[self.groups] * self.width)
                    * 2 ** (stage - 1),
                    "strides": 2 if j == 0 else 1,
                    # Section 3.3: the stem has too few channels to be grouped.
                    "first_groups": 1 if stage == 1 and j == 0 else self.groups,
                }
                for j in range(depth)
            ]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {"*": Paper("Zhang et al.", 2017, "https://arxiv.org/abs/1707.01083")}


def _variants():
    """Table 2: groups and widths. Table 5: with squeeze-excite, and the shallow one."""
    widths = {
        "_x0_25": 0.25,
        "_x0_5": 0.5,
        "_x0_75": 0.75,
        "": 1.0,
        "_x1_5": 1.5,
        "_x2_0": 2.0,
    }
    variants = {
        f"shufflenet_v1_g{groups}{suffix}": functools.partial(
            ShuffleNetV1, groups=groups, width=width
        )
        for groups in CHANNELS
        for suffix, width in widths.items()
    }
    variants["shufflenet_v1_g3_x2_0_se"] = functools.partial(
        ShuffleNetV1, groups=3, width=2.0, squeeze_excite=True
    )
    variants["shufflenet_v1_g3_x0_5_shallow"] = functools.partial(
        ShuffleNetV1, groups=3, width=0.7, depths=(2, 4, 2)
    )
    return variants


VARIANTS = _variants()
