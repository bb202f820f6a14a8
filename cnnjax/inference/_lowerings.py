"""A function as it is fastest on CPUs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Jaxpr, Literal

from cnnjax import ops
from cnnjax.inference._interpreter import evaluate, evaluate_one
from cnnjax.ops._stored import stored_p


# What `lax`'s convolution and ours take.
_OPTIONS = ("window_strides", "padding", "lhs_dilation", "rhs_dilation")
_OPTIONS += ("dimension_numbers", "feature_group_count", "batch_group_count")
_OPTIONS += ("precision", "preferred_element_type", "out_sharding")
# These read arrays from memory; into others XLA fuses what it computes once more.
PRODUCTS = {"cnnjax_conv_general_dilated", "conv_general_dilated", "dot_general"}


def for_inference(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that computes the same, faster.

    Every convolution of `lax` becomes one of `cnnjax.ops`; those in loops stay. What a
    product and another equation read is computed once.

    Args:
      function: of arrays; it is traced whenever the result is called.
    """

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        leaves = jax.tree.leaves(arguments)
        inlined = jax.make_jaxpr(lambda *xs: evaluate(program, xs, lambda *_: None))(
            *leaves
        )
        shared = _shared(inlined.jaxpr)

        def rule(equation: Any, inputs: list[Any]) -> Sequence[Any] | None:
            if equation.outvars[0] not in shared:
                return _convolve(equation, inputs)
            outputs = evaluate_one(equation, inputs, _convolve)
            return [stored_p.bind(output) for output in outputs]

        results = evaluate(inlined, leaves, rule)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def _shared(jaxpr: Jaxpr) -> set[Any]:
    """Returns the floating numbers that a product reads, and another equation, too."""
    readers: dict[Any, list[str]] = {}
    for equation in jaxpr.eqns:
        values: list[Any] = [v for v in equation.invars if not isinstance(v, Literal)]
        for value in {*values}:
            if jnp.issubdtype(value.aval.dtype, jnp.floating):
                readers.setdefault(value, []).append(equation.primitive.name)
    return {v for v, names in readers.items() if names[1:] and PRODUCTS & {*names}}


def _convolve(equation: Any, inputs: list[Any]) -> Sequence[Any] | None:
    """Returns the output of a convolution of `lax`; None of anything else."""
    if equation.primitive is not lax.conv_general_dilated_p:
        return None
    options = {name: equation.params.get(name) for name in _OPTIONS}
    return [ops.conv_general_dilated(*inputs, **options)]
