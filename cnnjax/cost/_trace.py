"""From a model or a function to its jaxpr, with the modules' paths in it."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

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
    linen, is_nnx = isinstance(target, nn.Module), _is_nnx(target)
    if with_gradient and not (linen or is_nnx):
        raise errors.UserError(
            "a plain function has no parameters to train; pass it as `jax.grad(…)`"
        )
    traced = {key: value for key, value in options.items() if _is_array(value)}
    static = {key: value for key, value in options.items() if key not in traced}
    try:
        shapes = ([shape_of(argument) for argument in arguments], traced)
        if linen:
            return _linen(target, shapes, static, with_gradient)
        if is_nnx:
            return _nnx(target, shapes, static, with_gradient)

        def call(arguments, traced):
            return target(*arguments, **traced, **static)

        jaxpr, outputs = jax.make_jaxpr(call, return_shape=True)(*shapes)
        return Traced(jaxpr, {}, 0, _names(outputs))
    except Exception as error:
        passed = ", ".join(map(str, arguments))
        raise errors.UserError(
            f"{_name(target)} cannot be traced with {passed}: {error}; pass a shape "
            f"such as (1, 224, 224, 3) for each array that it takes"
        ) from error


def shape_of(argument: Any) -> Any:
    """Makes shapes of arrays, and of tuples of integers those of float32 ones."""
    if type(argument) is tuple and not argument:
        return jax.ShapeDtypeStruct((), jnp.float32)

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        if _is_shape(leaf):
            return jax.ShapeDtypeStruct(tuple(map(int, leaf)), jnp.float32)
        return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))

    return jax.tree.map(shape, argument, is_leaf=_is_shape)


def _is_shape(value: Any) -> bool:
    return (
        type(value) in (tuple, list)
        and len(value) > 0
        and all(hasattr(n, "__index__") and np.ndim(n) == 0 for n in value)
    )


def _is_array(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    kinds = (jax.Array, jax.ShapeDtypeStruct, np.ndarray)
    return len(leaves) > 0 and all(isinstance(leaf, kinds) for leaf in leaves)


def _linen(model, shapes, static, with_gradient) -> Traced:
    def init(arguments, traced):
        return model.init(_keys(), *arguments, **traced, **static)

    variables = jax.eval_shape(init, *shapes)
    rest = {name: value for name, value in variables.items() if name != "params"}

    def call(params, rest, arguments, traced):
        with nn.intercept_methods(_mark):
            return model.apply(
                {"params": params, **rest},
                *arguments,
                rngs=_keys(),
                mutable=[*rest],
                **traced,
                **static,
            )

    params = variables.get("params", {})
    flat = flax.traverse_util.flatten_dict(nn.meta.unbox(params), sep="/")
    jaxpr, outputs = _make_jaxpr(call, with_gradient)(params, rest, *shapes)
    return Traced(jaxpr, flat, len(jax.tree.leaves(variables)), _names(outputs))


def _nnx(model, shapes, static, with_gradient) -> Traced:
    from flax import nnx

    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def call(params, rest, arguments, traced):
        copy = nnx.merge(graph, params, rest, copy=True)
        outputs = copy(*arguments, **traced, **static)
        return outputs, nnx.state(copy, nnx.Not(nnx.Param))

    params, rest = shape_of(params), shape_of(rest)
    paths = {
        jax.tree_util.keystr(path[:-1], simple=True, separator="/"): leaf
        for path, leaf in jax.tree.leaves_with_path(params)
    }
    jaxpr, outputs = _make_jaxpr(call, with_gradient)(params, rest, *shapes)
    num_variables = len(jax.tree.leaves((params, rest)))
    return Traced(jaxpr, paths, num_variables, _names(outputs))


def _make_jaxpr(call: Callable[..., Any], with_gradient: bool) -> Callable[..., Any]:
    """Makes the jaxpr of a call, or of its gradient by the first argument.

    Args:
      call: returns what the model does and the state that it changed. Its outputs come
        first; only they have names.
      with_gradient: whether it is the gradient's.
    """

    def loss(params, *rest):
        outputs, changed = call(params, *rest)
        output = outputs[0] if _has_endpoints(outputs) else outputs
        floats = [
            a for a in jax.tree.leaves(output) if jnp.issubdtype(a.dtype, jnp.floating)
        ]
        if not floats:
            raise ValueError("it returns no floats to differentiate")
        return sum(a.astype(jnp.float32).sum() for a in floats), changed

    wanted = jax.grad(loss, has_aux=True) if with_gradient else call

    def trace_it(*arguments):
        jaxpr, (outputs, _) = jax.make_jaxpr(wanted, return_shape=True)(*arguments)
        return jaxpr, outputs

    return trace_it


def _has_endpoints(outputs: Any) -> bool:
    """Whether it is `(output, endpoints)`."""
    pair = isinstance(outputs, tuple) and len(outputs) == 2
    return pair and isinstance(outputs[1], dict)


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
