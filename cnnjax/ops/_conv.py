"""The convolution that every other one here is made of."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from cnnjax.ops import _lowerings as _lowerings
from cnnjax.ops._primitive import LOWERINGS, choose, conv
from cnnjax.ops._spec import DIMENSION_NUMBERS, AnyArray, ConvSpec


def conv_general_dilated(
    lhs: AnyArray,
    rhs: AnyArray,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
    *,
    lowering: str = "auto",
) -> Array:
    """Convolves as `jax.lax.conv_general_dilated`, faster where XLA is slow.

    A drop-in for it, in calls and in layers: `nn.Conv(conv_general_dilated=...)`. A
    two-dimensional convolution of NHWC images with HWIO kernels gets the fastest
    known lowering for its shape on CPUs; on other platforms, and for anything else, it
    is XLA's own. bfloat16 and float16 accumulate in float32.

    Args:
      lhs: images, e.g. [n, h, w, c].
      rhs: kernel, e.g. [kh, kw, c / feature_group_count, m].
      window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
        feature_group_count, batch_group_count, precision, preferred_element_type,
        out_sharding: as in `jax.lax.conv_general_dilated`.
      lowering: "auto"; "lax" for XLA's own; or the name of another lowering, which is
        then used on every platform: "depthwise", "depth_multiplier", "grouped",
        "pointwise", "patches", "im2col", "dense", "transposed".

    Returns:
      The output, e.g. [n, h2, w2, m].

    Raises:
      ValueError: if shapes and arguments do not fit each other, or the lowering does
        not exist or does not apply.
    """
    lhs, rhs = jnp.asarray(lhs), jnp.asarray(rhs)
    arguments: dict[str, Any] = {
        "window_strides": window_strides,
        "padding": padding,
        "lhs_dilation": lhs_dilation,
        "rhs_dilation": rhs_dilation,
        "dimension_numbers": dimension_numbers,
        "feature_group_count": feature_group_count,
        "batch_group_count": batch_group_count,
        "precision": precision,
        "preferred_element_type": preferred_element_type,
    }
    if out_sharding is not None:
        arguments["out_sharding"] = out_sharding
    if lowering not in ("auto", *LOWERINGS):
        raise ValueError(
            f"unknown lowering {lowering!r}; there are auto, {', '.join(LOWERINGS)}"
        )
    spec = None if lowering == "lax" else _specify(lhs, rhs, **arguments)
    if spec is not None and lowering == "auto":
        spec = choose(spec)
    elif spec is not None and LOWERINGS[lowering].applies(spec):
        spec = dataclasses.replace(spec, lowering=lowering, everywhere=True)
    elif lowering not in ("auto", "lax"):
        raise ValueError(
            f"lowering {lowering!r} does not apply to images {jnp.shape(lhs)}, kernel "
            f"{jnp.shape(rhs)} and {arguments}"
        )
    if spec is None or spec.lowering == "lax":
        return lax.conv_general_dilated(lhs, rhs, **arguments)
    return conv(lhs, rhs, spec)


def _specify(
    lhs: AnyArray,
    rhs: AnyArray,
    *,
    window_strides,
    padding,
    lhs_dilation,
    rhs_dilation,
    dimension_numbers,
    feature_group_count,
    batch_group_count,
    precision,
    preferred_element_type,
    out_sharding=None,
) -> ConvSpec | None:
    """Returns the convolution's spec, or None if it has to be XLA's."""
    kinds = jax.typeof(lhs), jax.typeof(rhs)
    dtype = kinds[0].dtype
    plain = (
        lhs.ndim == rhs.ndim == 4
        and batch_group_count == 1
        and out_sharding is None
        and kinds[1].dtype == dtype
        and jnp.issubdtype(dtype, jnp.floating)
        and preferred_element_type in (None, dtype)
        and not any(axis for kind in kinds for axis in kind.sharding.spec)
        and _is_nhwc(dimension_numbers, lhs, rhs)
        and all(isinstance(size, int) for size in (*lhs.shape[1:], *rhs.shape))
    )
    if not plain:
        return None
    groups = feature_group_count
    strides, dilation = tuple(window_strides), tuple(rhs_dilation or (1, 1))
    if isinstance(padding, str):
        if lhs_dilation is not None and tuple(lhs_dilation) != (1, 1):
            return None
        reach = [e * (k - 1) + 1 for k, e in zip(rhs.shape[:2], dilation, strict=True)]
        padding = lax.padtype_to_pads(lhs.shape[1:3], reach, strides, padding)
    spec = ConvSpec(
        image_shape=lhs.shape[1:],
        kernel_shape=rhs.shape,
        window_strides=strides,
        padding=tuple((int(low), int(high)) for low, high in padding),
        lhs_dilation=tuple(lhs_dilation or (1, 1)),
        rhs_dilation=dilation,
        feature_group_count=groups,
        precision=precision,
    )
    sizes = (*lhs.shape[1:], *rhs.shape, *spec.window_strides, *dilation, groups)
    fits = lhs.shape[3] == groups * rhs.shape[2] and rhs.shape[3] % groups == 0
    if not fits or min(*sizes, *spec.lhs_dilation) < 1 or 0 in spec.out_shape:
        return None  # Empty, or an error for `lax` to explain.
    return spec


def _is_nhwc(dimension_numbers, lhs: AnyArray, rhs: AnyArray) -> bool:
    found = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return found == lax.conv_dimension_numbers(lhs.shape, rhs.shape, DIMENSION_NUMBERS)
