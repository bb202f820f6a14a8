"""Convolutions lowered as they are fastest where no gradients are taken."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax

from cnnjax import ops
from cnnjax.inference._interpreter import evaluate


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
        results = evaluate(jaxpr, jax.tree.leaves(arguments), _convolve)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def _convolve(equation: Any, inputs: list[Any]) -> Sequence[Any] | None:
    """Returns the outputs of a convolution; None of anything else."""
    primitive, params = equation.primitive, equation.params
    ours = primitive.name == "cnnjax_conv_general_dilated" and not params["everywhere"]
    if not ours and primitive is not lax.conv_general_dilated_p:
        return None
    options = {name: params[name] for name in _PARAMETERS}
    if ours:
        options["dimension_numbers"] = ("NHWC", "HWIO", "NHWC")
    else:
        options |= {name: params.get(name) for name in _MORE_OF_LAX}
    return [ops.conv_general_dilated(*inputs, **options, lowering="inference")]
