"""Runs a traced function again, with some of its equations computed otherwise."""

from collections.abc import Callable, Mapping, Sequence
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
    return evaluate_some(jaxpr.eqns, values, jaxpr.outvars, rule)


def evaluate_some(
    equations: Sequence[Any],
    values: Mapping[Any, Any],
    wanted: Sequence[Any],
    rule: Rule = lambda *_: None,
) -> list[Any]:
    """Returns the values of what is wanted.

    Args:
      equations: those of a jaxpr that lead there, in their order.
      values: of the variables that are known.
      wanted: variables and literals.
      rule: as in `evaluate`.
    """
    values = dict(values)

    def read(atoms: Sequence[Any]) -> list[Any]:
        return [a.val if isinstance(a, Literal) else values[a] for a in atoms]

    for equation in equations:
        outputs = evaluate_one(equation, read(equation.invars), rule)
        values.update(zip(equation.outvars, outputs, strict=True))
    return read(wanted)


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
