"""Convolutions lowered as they are fastest where no gradients are taken."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from cnnjax import ops


# Equations that only call a jaxpr, and under which name they keep it.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}
# What both kinds of convolutions say of themselves.
_PARAMETERS = ("window_strides", "padding", "lhs_dilation", "rhs_dilation")
_PARAMETERS += ("feature_group_count", "precision")
_MORE_OF_LAX = ("dimension_numbers", "batch_group_count", "preferred_element_type")
_MORE_OF_LAX += ("out_sharding",)


def for_inference(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that computes the same with other convolutions.

    Every convolution, be it of `cnnjax.ops` or of `lax`, becomes
    `ops.conv_general_dilated(…, lowering="inference")`; those in loops stay.

    Args:
      function: of arrays; it is traced whenever the result is called.
    """

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        results = _evaluate(jaxpr, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def _evaluate(jaxpr: Jaxpr | ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
    constants: Sequence[Any] = ()
    if isinstance(jaxpr, ClosedJaxpr):
        jaxpr, constants = jaxpr.jaxpr, jaxpr.consts
    known = dict(zip(jaxpr.constvars, constants, strict=True))
    known |= dict(zip(jaxpr.invars, arguments, strict=True))

    for equation in jaxpr.eqns:
        known |= _apply(equation, known)
    return [_read(atom, known) for atom in jaxpr.outvars]


def _apply(equation: Any, known: dict[Any, Any]) -> dict[Any, Any]:
    """Returns the values of an equation's outputs."""
    primitive, params = equation.primitive, equation.params
    values = [_read(atom, known) for atom in equation.invars]
    if primitive.name in _CALLS:
        results = _evaluate(params[_CALLS[primitive.name]], values)
        return dict(zip(equation.outvars, results, strict=True))
    ours = primitive.name == "cnnjax_conv_general_dilated" and not params["everywhere"]
    if ours or primitive is lax.conv_general_dilated_p:
        options = {name: params[name] for name in _PARAMETERS}
        if ours:
            options["dimension_numbers"] = ("NHWC", "HWIO", "NHWC")
        else:
            options |= {name: params.get(name) for name in _MORE_OF_LAX}
        y = ops.conv_general_dilated(*values, **options, lowering="inference")
        return {equation.outvars[0]: y}
    results = primitive.bind(*values, **params)
    results = results if primitive.multiple_results else [results]
    return dict(zip(equation.outvars, results, strict=True))


def _read(atom: Any, known: dict[Any, Any]) -> Any:
    return atom.val if isinstance(atom, Literal) else known[atom]
