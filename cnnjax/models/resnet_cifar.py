"""CIFAR ResNets and their plain counterparts (He et al., 2015, section 4.2).

Deviation: the paper uses option A (parameter-free shortcuts) on CIFAR; the default
here is option B (projections), as in the reference implementations whose weights
people share. `shortcut="pad"` gives option A.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import ops
from cnnjax.models._classifier import (
    Activation,
    Endpoints,
    ModuleDef,
    Paper,
    he_normal,
)
from cnnjax.models._stages import StagedClassifier


Shortcut = Literal["projection", "pad", "none"]


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (Fig. 2).

    Attributes:
      features: output channels.
      strides: strides of the first convolution.
      shortcut: how the input joins the output where their shapes differ:
        "projection" (option B, a strided 1x1 convolution), "pad" (option A, every
        other pixel with zero channels appended); "none" leaves all shortcuts out.
      conv: constructor of the convolutions.
      norm: constructor of the normalisations.
      act: activation.
    """

    features: int
    strides: int
    shortcut: Shortcut
    conv: ModuleDef
    norm: ModuleDef
    act: Activation

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        y = self.act(self.norm()(self.conv(self.features, 3, self.strides)(x)))
        y = self.norm()(self.conv(self.features, 3)(y))
        if self.shortcut == "none":
            return self.act(y)
        if x.shape != y.shape and self.shortcut == "projection":
            x = self.conv(self.features, 1, self.strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        elif x.shape != y.shape:
            x = x[:, :: self.strides, :: self.strides]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, y.shape[-1] - x.shape[-1])))
        return self.act(x + y)


class CifarResNet(StagedClassifier, kw_only=True):
    """ResNet for small images: three stages of 16, 32 and 64 channels.

    Attributes:
      depths: number of blocks in each stage; n each give 6n + 2 layers.
      shortcut: "projection", "pad" or "none"; see CifarBlock.
      act: activation.
    """

    depths: Sequence[int]
    shortcut: Shortcut = "projection"
    num_classes: int | None = 10
    image_size: int = 32
    act: Activation = nn.relu

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, Endpoints]:
        """Endpoints: stem and stage1 (stride 1), stage2 (2), stage3 (4)."""
        # The README's accuracies were measured with this initialisation of the head.
        layers = self.layers(train, he_normal, nn.initializers.lecun_normal())
        conv, norm = layers.conv, layers.norm
        block = functools.partial(
            CifarBlock, shortcut=self.shortcut, conv=conv, norm=norm, act=self.act
        )
        out = {}

        x = conv(16, 3, name="stem")(image)
        x = out["stem"] = self.act(norm(name="stem_norm")(x))
        for stage, depth in enumerate(self.depths, start=1):
            options = [
                {
                    "features": 16 * 2 ** (stage - 1),
                    "strides": 2 if stage > 1 and j == 0 else 1,
                }
                for j in range(depth)
            ]
            x = out[f"stage{stage}"] = self.run_stage(x, stage, block, options)
        return self.classify(ops.global_avg_pool(x), out, layers.dense)


PAPERS = {"*": Paper("He et al.", 2015, "https://arxiv.org/abs/1512.03385")}

# Table 6 and section 4.2: 6n + 2 layers, with shortcuts and without.
VARIANTS = {
    f"{family}{6 * n + 2}_cifar": functools.partial(model, depths=(n, n, n))
    for family, model in (
        ("resnet", CifarResNet),
        ("plain", functools.partial(CifarResNet, shortcut="none")),
    )
    for n in (3, 5, 7, 9, 18, 200)
}
