"""Grouped convolutions: a dense one per group, each lowered as its own class."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array

from cnnjax.ops._lowerings._taps import few_taps
from cnnjax.ops._primitive import Lowering, choose, conv
from cnnjax.ops._spec import ConvSpec


def _conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    groups = spec.feature_group_count
    rows, columns, channels, features = spec.kernel_shape
    one = dataclasses.replace(
        spec,
        image_shape=(*spec.image_shape[:2], channels),
        kernel_shape=(rows, columns, channels, features // groups),
        feature_group_count=1,
    )
    pairs = zip(
        jnp.split(x, groups, axis=3), jnp.split(kernel, groups, axis=3), strict=True
    )
    return jnp.concatenate([conv(a, b, choose(one)) for a, b in pairs], axis=3)


GROUPED = Lowering(
    # More groups than any published network has would take long to compile; so would
    # groups of one channel with more taps than shifted multiply-adds are made for.
    applies=lambda spec: (
        1 < spec.feature_group_count <= 64
        and (spec.kernel_shape[2] > 1 or few_taps(spec))
        and spec.lhs_dilation == (1, 1)
    ),
    conv=_conv,
    # cuDNN's grouped 1x1 take longer (`docs/gpu.md`); its grouped 3x3 do not.
    on_cuda=lambda spec: spec.kernel_shape[:2] == (1, 1),
)
