"""What products read and weights alone decide is computed once, not in each call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.extend.core import Literal
from jaxtyping import Array

from cnnjax.inference._interpreter import evaluate, evaluate_some
from cnnjax.inference._lowerings import PRODUCTS
from cnnjax.ops._primitive import LOWERINGS, conv_p, spell_out
from cnnjax.ops._spec import ConvSpec


Arrays = Mapping[str, Any]
Run = Callable[[Arrays, Any], Any]


def compute_once(run: Run, arrays: Arrays, images: Any) -> tuple[Run, dict[str, Any]]:
    """Returns a function that computes the same with less to do, and its arrays.

    On CPUs Winograd's values of kernels are among what is computed here.

    Args:
      run: (arrays, images) -> output.
      arrays: its arrays by name.
      images: their shape and dtype.
    """

    def inlined(*arguments: Any) -> list[Any]:
        program = jax.make_jaxpr(run)(*arguments)
        return evaluate(program, jax.tree.leaves(arguments), _spell_out)

    output = jax.tree.structure(jax.eval_shape(run, arrays, images))
    program = jax.make_jaxpr(inlined)(arrays, images)
    jaxpr = program.jaxpr
    *weights, image = jaxpr.invars
    names = dict(zip(sorted(arrays), weights, strict=True))  # As JAX orders them.
    constants = dict(zip(jaxpr.constvars, program.consts, strict=True))
    given = {*weights, *constants}
    once, wanted = {*given}, set()
    for equation in jaxpr.eqns:
        read = _variables(equation.invars)
        if read <= once:
            once.update(equation.outvars)
        elif equation.primitive.name in PRODUCTS:
            wanted |= read & once - given
    ordered = [v for e in jaxpr.eqns for v in e.outvars if v in wanted]
    before = _needed(jaxpr.eqns, wanted, given)
    after = _needed(jaxpr.eqns, _variables(jaxpr.outvars), given | wanted)

    @jax.jit
    def compute(arrays: Arrays) -> list[Array]:
        values = constants | {v: arrays[name] for name, v in names.items()}
        return evaluate_some(before, values, ordered)

    read = _variables(jaxpr.outvars).union(*(_variables(e.invars) for e in after))
    computed = {f"computed{i}": v for i, v in enumerate(ordered)}
    kept = {name: v for name, v in names.items() if v in read}

    def call(arrays: Arrays, images: Array) -> Any:
        values = constants | {v: arrays[n] for n, v in (kept | computed).items()}
        results = evaluate_some(after, values | {image: images}, jaxpr.outvars)
        return jax.tree.unflatten(output, results)

    return call, {name: arrays[name] for name in kept} | dict(
        zip(computed, compute(arrays), strict=True)
    )


def _spell_out(equation: Any, inputs: list[Any]) -> Sequence[Any] | None:
    """Returns the output of a convolution by Winograd's filtering; None of others."""
    params = equation.params
    if equation.primitive is not conv_p or params["lowering"] != "winograd":
        return None
    if params["everywhere"] or jax.default_backend() != "cpu":
        return None
    coarser = LOWERINGS["winograd_4"].applies(ConvSpec(**params))
    name = "winograd_4" if coarser else "winograd"
    return [spell_out(*inputs, **(params | {"lowering": name}))]


def _variables(atoms: Sequence[Any]) -> set[Any]:
    return {atom for atom in atoms if not isinstance(atom, Literal)}


def _needed(equations: Sequence[Any], wanted: set[Any], known: set[Any]) -> list[Any]:
    """Returns the equations that lead from what is known to what is wanted."""
    needed, wanted = [], wanted - known
    for equation in reversed(equations):
        if wanted & {*equation.outvars}:
            needed.append(equation)
            wanted |= _variables(equation.invars) - known
    return needed[::-1]
