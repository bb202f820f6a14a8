"""From a model or a function to its jaxpr, with the modules' paths in it."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp

from cnnjax import errors


class Traced(NamedTuple):
    """A function that was traced with shapes.

    Attributes:
      jaxpr: the closed one.
      param_shapes: shapes of a module's parameters, by path; {} of a plain function.
      num_variables: how many of the first arguments are variables of the module.
      output_names: of the jaxpr's outputs: of `(output, endpoints)` "output" and the
        endpoints' own, else paths in what is returned.
    """

    jaxpr: Any
    param_shapes: dict[str, Any]
    num_variables: int
    output_names: tuple[str, ...]


def trace(
    target: nn.Module | Callable[..., Any],
    arguments: Sequence[Any],
    options: dict[str, Any],
    *,
    with_gradient: bool,
) -> Traced:
    """Traces a Linen module, an NNX module or any function; nothing is computed.

    Raises:
      UserError: if it cannot be traced with these arguments.
    """
    arguments = [shape_of(argument) for argument in arguments]
    linen, is_nnx = isinstance(target, nn.Module), _is_nnx(target)
    if with_gradient and not (linen or is_nnx):
        raise errors.UserError(
            "a plain function has no parameters to train; pass it as `jax.grad(…)`"
        )
    try:
        if linen:
            return _linen(target, arguments, options, with_gradient)
        if is_nnx:
            return _nnx(target, arguments, options, with_gradient)
        call = jax.make_jaxpr(lambda *a: target(*a, **options), return_shape=True)
        jaxpr, outputs = call(*arguments)
        return Traced(jaxpr, {}, 0, _names(outputs))
    except Exception as error:
        shapes = ", ".join(map(str, arguments))
        raise errors.UserError(
            f"{_name(target)} cannot be traced with {shapes}: {error}; pass a shape "
            f"such as (1, 224, 224, 3) for each array that it takes"
        ) from error


def shape_of(argument: Any) -> Any:
    """Makes shapes of arrays, and of tuples of integers those of float32 ones."""
    if isinstance(argument, tuple | list) and all(isinstance(n, int) for n in argument):
        return jax.ShapeDtypeStruct(tuple(argument), jnp.float32)
    return jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), argument
    )


def _linen(model, arguments, options, with_gradient) -> Traced:
    variables = jax.eval_shape(
        lambda *a: model.init(_keys(), *a, **options), *arguments
    )
    rest = {name: value for name, value in variables.items() if name != "params"}
    mutable = [name for name in rest] if options.get("train") else False

    def call(params, rest, *arguments):
        with nn.intercept_methods(_mark):
            return model.apply(
                {"params": params, **rest},
                *arguments,
                rngs=_keys(),
                mutable=mutable,
                **options,
            )

    params = variables.get("params", {})
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    jaxpr, outputs = _make_jaxpr(call, with_gradient)(params, rest, *arguments)
    return Traced(jaxpr, flat, len(jax.tree.leaves(variables)), _names(outputs))


def _nnx(model, arguments, options, with_gradient) -> Traced:
    from flax import nnx

    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def call(params, rest, *arguments):
        return nnx.merge(graph, params, rest)(*arguments, **options)

    params, rest = shape_of(params), shape_of(rest)
    paths = {
        jax.tree_util.keystr(path[:-1], simple=True, separator="/"): leaf
        for path, leaf in jax.tree.leaves_with_path(params)
    }
    jaxpr, outputs = _make_jaxpr(call, with_gradient)(params, rest, *arguments)
    num_variables = len(jax.tree.leaves((params, rest)))
    return Traced(jaxpr, paths, num_variables, _names(outputs))


def _make_jaxpr(call: Callable[..., Any], with_gradient: bool) -> Callable[..., Any]:
    if not with_gradient:
        return jax.make_jaxpr(call, return_shape=True)

    def loss(params, *rest):
        outputs = call(params, *rest)
        floats = [
            a for a in jax.tree.leaves(outputs) if jnp.issubdtype(a.dtype, jnp.floating)
        ]
        return floats[0].astype(jnp.float32).sum()

    return jax.make_jaxpr(jax.grad(loss), return_shape=True)


def _names(outputs: Any) -> tuple[str, ...]:
    """Names the leaves of what a function returns."""
    if (
        isinstance(outputs, tuple)
        and len(outputs) == 2
        and isinstance(outputs[1], dict)
    ):
        output, endpoints = outputs
        return (*_names({"output": output}), *_names(endpoints))
    return tuple(
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree.leaves_with_path(outputs)
    )


def _mark(call, args, kwargs, context):
    """Writes the path of a module into the name of the scope of its call."""
    with jax.named_scope(f"@{'.'.join(context.module.path)}@"):
        return call(*args, **kwargs)


def _keys() -> dict[str, Any]:
    return {name: jax.random.key(0) for name in ("params", "dropout")}


def _is_nnx(target: Any) -> bool:
    """Whether it is an NNX module; whoever has one has imported NNX."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(target, nnx.Module)


def _name(target: Any) -> str:
    return getattr(target, "__name__", type(target).__name__)
