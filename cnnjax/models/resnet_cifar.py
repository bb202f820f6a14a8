"""CIFAR ResNets and their plain counterparts (He et al., 2015, section 4.2).

Paper: https://arxiv.org/abs/1512.03385.

Deviation: the paper uses option A (parameter-free shortcuts) on CIFAR; the default
here is option B (projections), as in the reference implementations whose weights
people share. `shortcut="pad"` gives option A.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from flax.typing import Dtype
from jaxtyping import Array, Float

from cnnjax import ops


ModuleDef = Callable[..., nn.Module]
Shortcut = Literal["projection", "pad", "none"]
PAD3 = ((1, 1), (1, 1))  # Symmetric, as in the reference; "SAME" is not at stride 2.
# He et al., 2015, https://arxiv.org/abs/1502.01852, eq. 14 (preserves gradients).
kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


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
    strides: tuple[int, int]
    shortcut: Shortcut
    conv: ModuleDef
    norm: ModuleDef
    act: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
        y = self.conv(self.features, (3, 3), self.strides, PAD3)(x)
        y = self.act(self.norm()(y))
        y = self.conv(self.features, (3, 3), padding=PAD3)(y)
        y = self.norm()(y)
        if self.shortcut == "none":
            return self.act(y)
        if x.shape != y.shape and self.shortcut == "projection":
            x = self.conv(self.features, (1, 1), self.strides, name="conv_proj")(x)
            x = self.norm(name="norm_proj")(x)
        elif x.shape != y.shape:
            x = x[:, :: self.strides[0], :: self.strides[1]]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, y.shape[-1] - x.shape[-1])))
        return self.act(x + y)


class CifarResNet(nn.Module):
    """ResNet for small images: three stages of 16, 32 and 64 channels.

    Attributes:
      depths: number of blocks in each stage; n each give 6n + 2 layers.
      shortcut: "projection", "pad" or "none"; see CifarBlock.
      num_classes: logits to predict; None leaves the head out.
      act: activation.
      axis_name: mapped axis over which batch statistics are averaged, if any.
      conv_general_dilated: the convolution, with lax's signature.
      dtype: computation dtype (default: promoted from input and params).
      param_dtype: parameter dtype.
    """

    depths: Sequence[int]
    shortcut: Shortcut = "projection"
    num_classes: int | None = 10
    act: Callable[[Array], Array] = nn.relu
    axis_name: str | None = None
    conv_general_dilated: Callable[..., Array] = ops.conv_general_dilated
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "n h w c"], *, train: bool = False
    ) -> tuple[Array, dict[str, Array]]:
        """Applies the network.

        Args:
          image: normalised images, NHWC.
          train: whether batch statistics are used and updated (needs
            mutable=["batch_stats"]).

        Returns:
          The logits [n, num_classes], or the pooled features [n, 64] when
          num_classes is None; and every endpoint by name: stem and stage1
          (stride 1), stage2 (2), stage3 (4), pre_logits, logits.
        """
        conv, dense, norm = (
            functools.partial(layer, dtype=self.dtype, param_dtype=self.param_dtype)
            for layer in (nn.Conv, nn.Dense, nn.BatchNorm)
        )
        conv = functools.partial(
            conv,
            use_bias=False,
            kernel_init=kernel_init,
            conv_general_dilated=self.conv_general_dilated,
        )
        norm = functools.partial(
            norm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            axis_name=self.axis_name,
        )
        out = {}

        x = conv(16, (3, 3), padding=PAD3, name="stem")(image)
        x = out["stem"] = self.act(norm(name="stem_norm")(x))
        for i, depth in enumerate(self.depths):
            for j in range(depth):
                x = CifarBlock(
                    features=16 * 2**i,
                    strides=(2, 2) if i > 0 and j == 0 else (1, 1),
                    shortcut=self.shortcut,
                    conv=conv,
                    norm=norm,
                    act=self.act,
                    name=f"stage{i + 1}_block{j + 1}",
                )(x)
            out[f"stage{i + 1}"] = x
        x = out["pre_logits"] = jnp.mean(x, axis=(1, 2))
        if self.num_classes is not None:
            x = out["logits"] = dense(self.num_classes, name="head")(x)
        return x, out


# Table 6 and section 4.2: 6n + 2 layers, with shortcuts and without.
VARIANTS = {
    f"{family}{6 * n + 2}_cifar": functools.partial(model, depths=(n, n, n))
    for family, model in (
        ("resnet", CifarResNet),
        ("plain", functools.partial(CifarResNet, shortcut="none")),
    )
    for n in (3, 5, 7, 9, 18, 200)
}
