"""The convolution that every other one here is made of."""

import dataclasses
import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from cnnjax.ops import _lowerings as _lowerings
from cnnjax.ops._check import check
from cnnjax.ops._primitive import LOWERINGS, choose, conv
from cnnjax.ops._spec import DIMENSION_NUMBERS, AnyArray, ConvSpec, Pair


Integers = Sequence[int] | np.ndarray
DTYPES = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64)


def conv_general_dilated(
    lhs: AnyArray,
    rhs: AnyArray,
    window_strides: Integers,
    padding: str | Sequence[Sequence[int]] | np.ndarray,
    lhs_dilation: Integers | None = None,
    rhs_dilation: Integers | None = None,
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

    `y[i, j, m] = sum_{a, b, c} z[S i + E a, S j + E b, c] k[a, b, c, m]`, where z are
    the images with D - 1 zeros between their pixels, and padded; S are window_strides,
    D is lhs_dilation and E rhs_dilation.

    >>> x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))
    >>> layout = ("NHWC", "HWIO", "NHWC")
    >>> y = conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout)
    >>> y[0, ..., 0].tolist()
    [[9.0, 9.0], [9.0, 9.0]]

    A drop-in for it, in calls and in layers: `nn.Conv(conv_general_dilated=...)`. A
    two-dimensional convolution of NHWC images with HWIO kernels gets the fastest
    known lowering for its shape on CPUs; on other platforms (but for grouped 1x1 on
    NVIDIA's GPUs), and for anything else, it is XLA's own. bfloat16 and float16
    accumulate in float32.

    It differs from `lax`'s where code looks for the primitive by name: policies of
    `jax.checkpoint` such as `checkpoint_dots` recompute it rather than save it (give
    the result a name with `jax.ad_checkpoint.checkpoint_name` to save it), and
    `jax.experimental.jet` has no rule for it. `lowering="lax"` helps with both.

    Args:
      lhs: images, e.g. [n, h, w, c].
      rhs: kernel, e.g. [kh, kw, c / feature_group_count, m].
      window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
        feature_group_count, batch_group_count, precision, preferred_element_type,
        out_sharding: as in `jax.lax.conv_general_dilated`.
      lowering: "auto"; "lax" for XLA's own; or the name of another lowering, which is
        then used on every platform: "depthwise", "depth_multiplier", "grouped",
        "pointwise", "patches", "winograd", "im2col", "dense", "transposed"; or
        "winograd_4", which is never chosen since it rounds more coarsely.

    Returns:
      The output, e.g. [n, h2, w2, m].

    Raises:
      ValueError: if the lowering does not exist or does not apply, or a size of the
        kernel, a stride or a dilation is not positive; whatever else does not fit is
        for `lax` to refuse: shapes with ValueError, ranks and dtypes with TypeError.

    Source: `jax.lax.conv_general_dilated`; Dumoulin and Visin, 2016,
    https://arxiv.org/abs/1603.07285. The phases of dilated inputs are those of Shi et
    al., 2016, https://arxiv.org/abs/1609.07009.
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
        known = ", ".join(("auto", *LOWERINGS))
        raise ValueError(f"unknown lowering {lowering!r}; there are {known}")
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
        and dtype in DTYPES
        and preferred_element_type in (None, dtype)
        and not any(axis for kind in kinds for axis in kind.sharding.spec)
        and _is_nhwc(dimension_numbers, lhs, rhs)
        and all(isinstance(size, int) for size in (*lhs.shape[1:], *rhs.shape))
    )
    if not plain:
        return None
    strides = _pair(window_strides)
    lhs_dilation = (1, 1) if lhs_dilation is None else _pair(lhs_dilation)
    dilation = (1, 1) if rhs_dilation is None else _pair(rhs_dilation)
    groups = _integer(feature_group_count)
    if strides is None or lhs_dilation is None or dilation is None or groups is None:
        return None
    check(
        min(*rhs.shape[:2], *strides, *lhs_dilation, *dilation) > 0,
        "the kernel's rows and columns, strides and dilations must be positive: images "
        f"{lhs.shape}, kernel {rhs.shape}, window_strides {strides}, lhs_dilation "
        f"{lhs_dilation}, rhs_dilation {dilation}",
    )
    if isinstance(padding, str):
        if lhs_dilation != (1, 1):
            return None
        reach = [e * (k - 1) + 1 for k, e in zip(rhs.shape[:2], dilation, strict=True)]
        padding = lax.padtype_to_pads(lhs.shape[1:3], reach, strides, padding)
    try:
        low_high = [_pair(side) for side in padding]
    except TypeError:
        return None
    sides = tuple(side for side in low_high if side is not None)
    if not len(low_high) == len(sides) == 2:
        return None
    spec = ConvSpec(
        image_shape=lhs.shape[1:],
        kernel_shape=rhs.shape,
        window_strides=strides,
        padding=sides,
        lhs_dilation=lhs_dilation,
        rhs_dilation=dilation,
        feature_group_count=groups,
        precision=_canonical(precision),
    )
    sizes = (*lhs.shape[1:], *rhs.shape, *spec.out_shape, groups)
    if min(sizes) < 1 or lhs.shape[3] != groups * rhs.shape[2] or rhs.shape[3] % groups:
        return None  # Empty, or an error for `lax` to explain.
    return spec


def _pair(values: Any) -> Pair | None:
    """Returns two integers, or None of anything else, which `lax` is to refuse."""
    try:
        first, second = map(operator.index, values)
    except (TypeError, ValueError):
        return None
    return first, second


def _integer(value: Any) -> int | None:
    try:
        return operator.index(value)
    except TypeError:
        return None


def _canonical(precision: Any) -> Any:
    """Returns a precision, or the default of the context, as `lax` keeps them."""
    config: Any = jax.config
    if precision is None and config.jax_default_matmul_precision is None:
        return None
    conv = functools.partial(
        lax.conv_general_dilated,
        window_strides=(),
        padding=(),
        precision=precision,
    )
    point = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    return jax.make_jaxpr(conv)(point, point).eqns[0].params["precision"]


def _is_nhwc(dimension_numbers, lhs: AnyArray, rhs: AnyArray) -> bool:
    found = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return found == lax.conv_dimension_numbers(lhs.shape, rhs.shape, DIMENSION_NUMBERS)
