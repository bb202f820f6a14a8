"""BatchNorm folded into the linear layer before it, or made one multiply-add."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import errors, trees
from cnnjax.inference._norms import Layer, Norm, Path, find_norms, is_plain
from cnnjax.nn import ConvTranspose


logger = logging.getLogger(__name__)


class Fate(NamedTuple):
    """What became of a BatchNorm.

    Attributes:
      norm: its path, e.g. "stage1_block1/BatchNorm_0".
      into: the path of the layer that it was folded into; "" if it was not.
      terms: the parameters that it has left: ("scale", "bias") of a multiply-add,
        ("bias",) if the layer has no bias to hold what it adds, () if it is gone; None
        if it was left alone.
      reason: why it was not folded.
    """

    norm: str
    into: str
    terms: tuple[str, ...] | None
    reason: str = ""


class Fates(tuple[Fate, ...]):
    """What became of the BatchNorms of a model; `str` says it, a line for each."""

    def __str__(self) -> str:
        return "\n".join(map(_describe, self))


def fold_batch_norm(
    model: nn.Module,
    variables: Mapping[str, Any],
    images_shape: Sequence[int],
    **options: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """Makes a model without running statistics that computes the same.

    A BatchNorm computes `p x + q` with `p = scale / sqrt(var + epsilon)` and `q = bias
    - p mean`. Where x is what a convolution or a dense layer returns, and nobody else
    uses it, p is multiplied into the kernel and q added to the layer's bias. Any other
    BatchNorm keeps p and q as its parameters `scale` and `bias`.

    >>> model = nn.Sequential([nn.Dense(2), nn.BatchNorm(use_running_average=True)])
    >>> variables = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> fast, folded = fold_batch_norm(model, variables, (1, 3))
    >>> [*folded], [*folded["params"]], str(fast.fates)
    (['params'], ['layers_0'], 'layers_1: folded into layers_0')

    Args:
      model: any Linen module; it is traced once, with the call's method interception.
      variables: its variables.
      images_shape: [n, h, w, c] of float32 images that it takes.
      **options: of the call, if it needs some.

    Returns:
      The model and its variables. The model is one of a class of its own, derived from
      the given one's, which has the attribute `fates`: what became of each BatchNorm.
      It cannot be trained. A model in which nothing can be folded comes back as it is.
      What is left as it was (a BatchNorm that the call trains) is logged as a warning.

    Raises:
      UserError: if the variables are not the model's, naming each.

    Source: Jacob et al., 2017, https://arxiv.org/abs/1712.05877, section 3.2.
    """
    variables = jax.tree.map(lambda leaf: leaf, nn.meta.unbox(dict(variables)))
    images = jax.ShapeDtypeStruct(tuple(images_shape), jnp.float32)
    check_variables(model, variables, images, options)
    norms = find_norms(model, variables, (images,), options)
    flat = flax.traverse_util.flatten_dict(variables)
    fates = Fates(_Folding(norms, flat).run())
    for fate in fates:
        if fate.terms is None:
            logger.warning(_describe(fate))
    if all(fate.terms is None for fate in fates):
        return model, dict(variables)
    return _replace_norms(model, fates), flax.traverse_util.unflatten_dict(flat)


def check_variables(
    model: nn.Module,
    variables: Mapping[str, Any],
    images: jax.ShapeDtypeStruct,
    options: Mapping[str, Any],
) -> None:
    """Raises a UserError that names what variables have too much, too little, or else.

    Args:
      model: any Linen module.
      variables: what should be its variables.
      images: that it takes.
      options: of its call.
    """
    keys = {name: jax.random.key(0) for name in ("params", "dropout")}
    wanted = jax.eval_shape(lambda x: model.init(keys, x, **options), images)
    problems = trees.differences(trees.flat(variables), trees.flat(wanted))
    if problems:
        raise errors.UserError(
            f"these are no variables of {type(model).__name__} for images "
            f"{images.shape}: {trees.few(problems)}"
        )


class _Folding:
    """Decides about each norm, and changes the leaves by path in place."""

    def __init__(self, norms: Sequence[Norm], flat: dict[Path, Any]) -> None:
        self.flat = flat
        self.calls = Counter(norm.layer.path for norm in norms)
        self.norms = {norm.layer.path: norm for norm in reversed(norms)}
        self.trained = {norm.layer.path for norm in norms if norm.layer.train}

    def run(self):
        for path, (norm, source) in reversed(self.norms.items()):
            name = "/".join(path)
            if path in self.trained:
                yield Fate(name, "", None, "it is trained")
                continue
            if not norm.whole:
                yield Fate(name, "", None, "its variables are not the model's own")
                continue
            reason = self.obstacle(norm, source)
            scale, bias = self.scale_and_bias(norm)
            if source is None or reason:
                self.put(norm, "scale", scale)
                self.put(norm, "bias", bias)
                yield Fate(name, "", ("scale", "bias"), reason)
                continue
            terms = self.fold(norm, source, scale, bias)
            yield Fate(name, "/".join(source.path), terms)

    def obstacle(self, norm: Layer, source: Layer | None) -> str:
        """Says why a norm cannot be folded; nothing if it can."""
        if self.calls[norm.path] > 1:
            return "it is called more than once"
        if source is None:
            return "its input is not the output of a convolution or dense layer"
        into = "/".join(source.path)
        for holds, reason in (
            (source.uses == 1, f"the output of {into} is used elsewhere, too"),
            (source.kernel_uses == 1, f"the kernel of {into} is used elsewhere, too"),
            (source.whole, f"the parameters of {into} are computed from others"),
            (is_plain(source.module), f"{into} changes its kernel"),
            (norm.features_last, "its features are not on the last axis"),
        ):
            if not holds:
                return reason
        return ""

    def scale_and_bias(self, norm: Layer) -> tuple[np.ndarray, np.ndarray]:
        """Returns p and q in double precision; drops what they are made of."""
        values = {
            name: np.float64(self.flat.pop(leaf)) for name, leaf in norm.leaves.items()
        }
        variance = values["var"] + norm.module.epsilon
        scale = values.get("scale", 1.0) / np.sqrt(variance)
        return scale, values.get("bias", 0.0) - scale * values["mean"]

    def put(self, norm: Layer, name: str, value: np.ndarray) -> None:
        path = ("params", *norm.leaves["mean"][1:-1], name)
        self.flat[path] = value.astype(norm.module.param_dtype)

    def fold(
        self, norm: Layer, source: Layer, scale: np.ndarray, bias: np.ndarray
    ) -> tuple[str, ...]:
        """Changes a layer's kernel and bias; returns what stays with the norm."""
        path = source.leaves["kernel"]
        kernel = self.flat[path]
        dtype = kernel.dtype
        self.flat[path] = _scaled(kernel, scale, source.module).astype(dtype)
        if "bias" not in source.leaves:
            self.put(norm, "bias", bias)
            return ("bias",)
        path = source.leaves["bias"]
        old = self.flat[path]
        self.flat[path] = (np.float64(old) * scale + bias).astype(old.dtype)
        return ()


def _scaled(kernel: Any, scale: np.ndarray, layer: nn.Module) -> np.ndarray:
    """Multiplies the features of a kernel, or of several in a stack.

    Args:
      kernel: [*stack, *window, channels, features], or as the layer has it.
      scale: [*stack, features].
      layer: whose kernel it is.
    """
    kernel = np.float64(kernel)
    groups = 1
    if type(layer) is ConvTranspose:  # [*stack, *window, channels, features / groups]
        groups = layer.feature_group_count
    *stack, features = scale.shape
    ones = (1,) * (kernel.ndim - len(stack) - 2)
    factors = scale.reshape(*stack, *ones, groups, 1, features // groups)
    if type(layer) is nn.ConvTranspose and layer.transpose_kernel:
        return kernel * factors.swapaxes(-1, -2).reshape(*stack, *ones, features, 1)
    grouped = kernel.reshape(*kernel.shape[:-2], groups, -1, kernel.shape[-1])
    return (grouped * factors).reshape(kernel.shape)


def _replace_norms(model: nn.Module, fates: Fates) -> nn.Module:
    """Returns the model as one of a class whose call replaces norms by what is left."""
    base = type(model)
    terms = {fate.norm: fate.terms for fate in fates}

    def call(self, *args: Any, **kwargs: Any) -> Any:
        start = len(self.path)

        def replace(call, args, kwargs, context):
            norm, path = context.module, "/".join(context.module.path[start:])
            called = type(norm) is nn.BatchNorm and context.method_name == "__call__"
            left = terms.get(path)
            if not called or left is None:
                return call(*args, **kwargs)
            asked = (*args[1:2], kwargs.get("use_running_average"))
            if any(answer is False for answer in (norm.use_running_average, *asked)):
                raise ValueError(
                    f"BatchNorm {path} is folded and cannot be trained; train the "
                    "model that was given to fold_batch_norm"
                )
            return _multiply_add(norm, args[0], left)

        with nn.intercept_methods(replace):
            return base.__call__(self, *args, **kwargs)

    members = {"__call__": call, "fates": fates, "__doc__": base.__doc__}
    folded = type(f"Folded{base.__name__}", (base,), members)
    fields = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.init and field.name != "parent"
    }
    return folded(**fields)


def _multiply_add(norm: nn.BatchNorm, x: Any, terms: tuple[str, ...]) -> Any:
    """Computes what is left of a norm."""
    axis = norm.axis % x.ndim
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    initial = {"scale": jnp.ones, "bias": jnp.zeros}
    values = {}
    for name in terms:
        if norm.is_initializing():
            value = initial[name](x.shape[axis], norm.param_dtype)
            norm.put_variable("params", name, value)
        values[name] = norm.get_variable("params", name).reshape(shape)
    dtype = norm.dtype or jnp.result_type(x, *values.values())
    x = x.astype(dtype)
    if "scale" in values:
        x *= values["scale"].astype(dtype)
    if "bias" in values:
        x += values["bias"].astype(dtype)
    return x


def _describe(fate: Fate) -> str:
    if fate.into:
        return f"{fate.norm}: folded into {fate.into}"
    done = "left as it was" if fate.terms is None else "made a multiply-add"
    return f"{fate.norm}: {done}: {fate.reason}"
