"""Finds the BatchNorms of a model, and what each one's input comes from.

One call is traced. Linear layers (convolutions and dense ones) and norms are
intercepted and leave equations in the jaxpr, which name them and the variables that
they use; the jaxpr then tells who else uses these. Names of variables tell nothing.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive, Var
from jax.interpreters import batching, mlir

from cnnjax import ops
from cnnjax.nn import ConvTranspose, DeformConv


LINEAR = (nn.Conv, nn.Dense, nn.ConvTranspose, ConvTranspose, DeformConv)
# The hooks by which a linear layer could do something else with its kernel.
_HOOKS = {"conv_general_dilated", "conv_general_dilated_cls"}
_HOOKS |= {"dot_general", "dot_general_cls"}
_LINEAR_HOOKS = (
    None,
    lax.conv_general_dilated,
    ops.conv_general_dilated,
    lax.dot_general,
)

Path = tuple[str, ...]


class Layer(NamedTuple):
    """A linear layer or a norm, where a call met it.

    Attributes:
      module: the layer.
      path: its path in the model.
      leaves: where its variables stand: name -> path of the leaf; without those that
        are computed from others.
      whole: whether the variables that it sees are its leaves, or the last axes of
        them where it stands in a loop.
      uses: how often its output is used.
      kernel_uses: how often its kernel is used.
      train: whether a norm uses and updates the statistics of its batch.
      features_last: whether a norm's features are on the last axis.
    """

    module: Any
    path: Path
    leaves: Mapping[str, Path]
    whole: bool
    uses: int
    kernel_uses: int
    train: bool
    features_last: bool


class Norm(NamedTuple):
    """A BatchNorm, and the linear layer whose output it normalises, if any."""

    layer: Layer
    source: Layer | None


def find_norms(
    model: nn.Module,
    variables: Mapping[str, Any],
    inputs: Sequence[Any],
    options: Mapping[str, Any],
) -> list[Norm]:
    """Returns the calls of BatchNorms in the order in which they run.

    Args:
      model: any Linen module.
      variables: its variables or their shapes.
      inputs: the call's arrays or their shapes.
      options: the call's other arguments.
    """
    met: list[tuple[nn.Module, tuple[str, ...], bool]] = []

    def meet(call, args, kwargs, context):
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        if type(module) in LINEAR:
            output = call(*args, **kwargs)
            met.append((module, ("kernel", "bias"), False))
            return _tag(output, module, met)
        if type(module) is nn.BatchNorm and module.has_variable("batch_stats", "mean"):
            train = not nn.merge_param(
                "use_running_average",
                module.use_running_average,
                kwargs.get("use_running_average", (args[1:2] or (None,))[0]),
            )
            met.append((module, ("scale", "bias", "mean", "var"), train))
            args = (_tag(args[0], module, met), *args[1:])
        return call(*args, **kwargs)

    leaves = jax.tree.leaves_with_path(dict(variables))
    paths = [tuple(str(key.key) for key in path) for path, _ in leaves]

    def call(variables, inputs):
        keys = {name: jax.random.key(0) for name in ("params", "dropout")}
        mutable = [name for name in variables if name != "params"]
        with nn.intercept_methods(meet):
            return model.apply(
                variables, *inputs, rngs=keys, mutable=mutable, **options
            )

    jaxpr = jax.make_jaxpr(call)(dict(variables), inputs).jaxpr
    origins = dict(zip(jaxpr.invars, paths, strict=False))
    shapes = {paths[i]: leaf.shape for i, (_, leaf) in enumerate(leaves)}
    return [*_Walk(met, shapes, _leaf_uses(jaxpr, origins)).norms(jaxpr, origins)]


class _Walk:
    """Reads the tags of a jaxpr."""

    def __init__(self, met, shapes, leaf_uses):
        self.met, self.shapes, self.leaf_uses = met, shapes, leaf_uses

    def norms(self, jaxpr: Jaxpr, origins: dict[Var, Path]) -> Iterator[Norm]:
        uses = Counter(v for e in jaxpr.eqns for v in _variables(e.invars))
        uses.update(_variables(jaxpr.outvars))
        linear: dict[Var, Layer] = {}
        for equation in jaxpr.eqns:
            if equation.primitive is _tag_p:
                output = equation.outvars[0]
                layer = self.layer(equation, origins, uses[output])
                if type(layer.module) is nn.BatchNorm:
                    (x,) = _variables(equation.invars[:1])
                    yield Norm(layer, linear.get(x))
                else:
                    linear[output] = layer
            for inner, known in _inner(equation, origins):
                yield from self.norms(inner, known)

    def layer(self, equation, origins, uses: int) -> Layer:
        module, _, train = self.met[equation.params["index"]]
        leaves, whole = {}, True
        for name, variable in zip(
            equation.params["names"], equation.invars[1:], strict=True
        ):
            if variable in origins:
                path = leaves[name] = origins[variable]
                shape = variable.aval.shape
                whole &= self.shapes[path][-len(shape) :] == shape
            else:
                whole = False
        kernel_uses = self.leaf_uses[leaves.get("kernel")]
        axis = getattr(module, "axis", -1)
        last = axis in (-1, equation.invars[0].aval.ndim - 1)
        return Layer(module, module.path, leaves, whole, uses, kernel_uses, train, last)


def is_plain(module: nn.Module) -> bool:
    """Returns whether no hook of a linear layer may change its kernel."""
    hooks = [getattr(module, name, None) for name in _HOOKS]
    hooks = [h.func if isinstance(h, functools.partial) else h for h in hooks]
    return all(hook in _LINEAR_HOOKS for hook in hooks)


def _inner(
    equation: Any, origins: Mapping[Var, Path]
) -> Iterator[tuple[Jaxpr, dict[Var, Path]]]:
    """Yields the jaxprs of an equation, and which leaves their inputs are."""
    kinds = (Jaxpr, ClosedJaxpr)
    values = jax.tree.leaves(
        [*equation.params.values()], is_leaf=lambda value: isinstance(value, kinds)
    )
    for value in values:
        if isinstance(value, kinds):
            jaxpr = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            # Of a branch: the index stands before. Of a loop's condition: no layer.
            passed = equation.invars[len(equation.invars) - len(jaxpr.invars) :]
            pairs = zip(jaxpr.invars, passed, strict=False)
            yield (
                jaxpr,
                {
                    inner: origins[outer]
                    for inner, outer in pairs
                    if isinstance(outer, Var) and outer in origins
                },
            )


def _leaf_uses(jaxpr: Jaxpr, origins: Mapping[Var, Path]) -> Counter:
    """Counts, by leaf, the equations that use it, tags and calls aside."""
    uses = Counter()
    for equation in jaxpr.eqns:
        if equation.primitive is _tag_p:
            continue
        inner = [*_inner(equation, origins)]
        for nested, known in inner:
            uses += _leaf_uses(nested, known)
        if not inner:
            used = _variables(equation.invars)
            uses.update(origins[v] for v in used if v in origins)
    used = _variables(jaxpr.outvars)
    uses.update(origins[v] for v in used if v in origins)
    return uses


def _variables(atoms: Sequence[Any]) -> list[Var]:
    """Returns what of it is no literal."""
    return [atom for atom in atoms if isinstance(atom, Var)]


def _tag(x: Any, module: nn.Module, met: list) -> Any:
    """Notes in the jaxpr that x belongs to the last module met, with its variables."""
    index = len(met) - 1
    found = {}
    for name in met[index][1]:
        collection = "batch_stats" if name in ("mean", "var") else "params"
        if module.has_variable(collection, name):
            found[name] = module.get_variable(collection, name)
    return _tag_p.bind(x, *found.values(), names=tuple(found), index=index)


_tag_p = Primitive("cnnjax_layer")
_tag_p.def_impl(lambda x, *_, **__: x)
_tag_p.def_abstract_eval(lambda x, *_, **__: x)


def _batch(arrays, axes, **params):
    return _tag_p.bind(*arrays, **params), axes[0]


batching.primitive_batchers[_tag_p] = _batch
mlir.register_lowering(_tag_p, mlir.lower_fun(lambda x, *_, **__: x, False))
