"""Runs a traced function again, with some of its equations computed otherwise."""

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


Rule = Callable[[Any, list[Any]], Sequence[Any] | None]

# Equations that only call a jaxpr.
_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")
_CALLS += ("checkpoint", "remat", "remat2")


def evaluate(
    program: ClosedJaxpr | Jaxpr, inputs: Sequence[Any], rule: Rule
) -> list[Any]:
    """Returns the outputs of a jaxpr, whose calls are inlined.

    Args:
      program: the jaxpr.
      inputs: its arguments.
      rule: (equation, inputs) -> outputs, or None where the equation is to stand.
    """
    jaxpr, consts = program, ()
    if isinstance(program, ClosedJaxpr):
        jaxpr, consts = program.jaxpr, program.consts
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        outputs = evaluate_one(equation, [*map(read, equation.invars)], rule)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [*map(read, jaxpr.outvars)]


def evaluate_one(equation: Any, inputs: list[Any], rule: Rule) -> Sequence[Any]:
    """Returns the outputs of one equation, by the rule or as it stands."""
    primitive, params = equation.primitive, equation.params
    if primitive.name in _CALLS:
        return evaluate(params.get("jaxpr") or params["call_jaxpr"], inputs, rule)
    outputs = rule(equation, inputs)
    if outputs is not None:
        return outputs
    outputs = primitive.bind(*inputs, **params)
    return outputs if primitive.multiple_results else [outputs]
