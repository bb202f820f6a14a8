"""Multiply-accumulates of convolutions and matrix products, from a jaxpr."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count_macs(function: Callable[..., Any], *arguments: Any) -> int:
    """Counts the "published" multiply-accumulates (MACs) of a call.

    Every tap of every output of a convolution counts, those on padding too (of a
    transposed convolution, every tap of every input); so do matrix products. It is what
    papers print and PyTorch's counter finds; nothing is computed.

    Args:
      function: any function of arrays, e.g. a model's `apply`.
      *arguments: arrays or `jax.ShapeDtypeStruct`.

    Returns:
      The MACs, of the whole batch.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> int:
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left, out = equation.invars[0].aval, equation.outvars[0].aval
        return out.size * math.prod(left.shape[axis] for axis in contracted)
    if name in ("conv_general_dilated", "cnnjax_conv_general_dilated"):
        x, kernel = (variable.aval for variable in equation.invars)
        out, features = equation.outvars[0].aval, kernel.shape[-1]
        if name == "conv_general_dilated":
            features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
        taps = kernel.size // features  # Of one output, or with `features` of an input.
        if max(params["lhs_dilation"]) > 1:
            groups = params["feature_group_count"]
            return x.size * taps * features // (kernel.shape[-2] * groups)
        return out.size * taps
    if name == "cond":  # The last branch is the one for any platform.
        return _count(params["branches"][-1].jaxpr)
    repeats = params["length"] if name == "scan" else 1
    return repeats * sum(map(_count, _inner(params)))


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Yields the jaxprs that an equation contains: of jit, scan, custom_jvp, …"""
    for value in params.values():
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            yield inner
