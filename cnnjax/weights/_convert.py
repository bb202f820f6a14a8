"""Variables from and to the state_dict of a reference implementation."""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import errors, registry
from cnnjax.weights import _names
from cnnjax.weights._stacking import unroll


Variables = dict[str, Any]

# What a state_dict holds besides parameters and statistics: a constant of attention.
CONSTANTS = re.compile(r".*\.(num_batches_tracked|relative_position_index)")


def from_torch(
    name: str,
    state_dict: Mapping[str, np.ndarray],
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    **options: Any,
) -> Variables:
    """Converts the weights of a reference implementation.

    Args:
      name: a name from `cnnjax.list_models()`.
      state_dict: arrays by the names of torchvision, timm, pytorchcv or a package of
        weights, in PyTorch's layout. The numbers of classes and of the images' channels
        are read off it.
      num_classes: another number than the file's; the head is left out then and begins
        at 0, with a warning.
      in_channels: another number than the file's; the first kernel is repeated over the
        channels (and scaled, or summed up for one) then, with a warning.
      **options: of the model, e.g. `shortcut="pad"`, where its parameters depend on it.

    Returns:
      {"params": …, "batch_stats": …} for `cnnjax.create(name, num_classes=…)`.

    Raises:
      UserError: names every key that is missing, unexpected or of another shape.
    """
    state = {key: np.asarray(value) for key, value in state_dict.items()}
    if state and all(key.startswith("module.") for key in state):  # DataParallel's.
        state = {key.removeprefix("module."): value for key, value in state.items()}
    state = {key: a for key, a in state.items() if not CONSTANTS.fullmatch(key)}
    model = registry.create(name, **options)
    named = max(
        _names.sources(model),
        key=lambda source: len(_keys(source, shapes_of(model)) & state.keys()),
    )
    classes = named("params/head/bias")
    if classes is None or classes.key not in state:
        raise errors.UserError(
            f"these weights have no head that {name} knows; {_few(state)}"
        )
    model = model.clone(num_classes=len(state[classes.key]))
    shapes = shapes_of(model)

    variables, problems, left = {}, [], dict(state)
    for path, shape in shapes.items():
        target = _name(named, path, name)
        value = left.pop(target.key, None)
        if value is None:
            problems.append(f"missing {target.key}")
            continue
        ours = _from_reference(path, value, shape.shape)
        if ours.shape != shape.shape and not _only_channels(ours.shape, shape.shape):
            problems.append(f"{target.key} has shape {value.shape}")
        variables[path] = ours
    problems += [f"unexpected {key}" for key in left]
    if problems:
        raise errors.UserError(f"these are not weights of {name}: {_few(problems)}")

    if num_classes is not None and num_classes != model.num_classes:
        warnings.warn(
            f"left out the head of {model.num_classes} classes; that of {num_classes} "
            f"begins at 0",
            stacklevel=2,
        )
        for path in variables:
            if path.startswith("params/head/"):
                shape = (*variables[path].shape[:-1], num_classes)
                variables[path] = np.zeros(shape, variables[path].dtype)
    if in_channels is not None:
        _adapt_channels(variables, model, in_channels)
    return _nested(variables)


def to_torch(
    name: str, variables: Mapping[str, Any], **options: Any
) -> dict[str, np.ndarray]:
    """Converts weights to the names and layout of the reference: undoes `from_torch`.

    Args:
      name: a name from `cnnjax.list_models()`.
      variables: {"params": …, "batch_stats": …} of such a model, scanned or not.
      **options: of the model, as in `from_torch`.

    Returns:
      The state_dict, with `num_batches_tracked` 0.

    Raises:
      UserError: if the variables have a name that the model does not.
    """
    named = _names.sources(registry.create(name, **options))[0]
    flat = flax.traverse_util.flatten_dict(unroll(variables), sep="/")
    state = {}
    for path, value in flat.items():
        target = _name(named, path, name)
        state[target.key] = _to_reference(path, np.asarray(value), target.shape)
        if path.startswith("batch_stats/") and path.endswith("/mean"):
            counter = target.key.removesuffix("running_mean") + "num_batches_tracked"
            state[counter] = np.zeros((), np.int64)
    return state


def shapes_of(model: nn.Module, in_channels: int = 3) -> dict[str, Any]:
    """Returns the shapes of a model's variables by path; nothing is computed."""
    size = getattr(model, "image_size", 224)
    image = jax.ShapeDtypeStruct((1, size, size, in_channels), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    return flax.traverse_util.flatten_dict(unroll(shapes), sep="/")


def _keys(source, paths: Iterable[str]) -> set[str]:
    return {name.key for path in paths if (name := source(path)) is not None}


def _name(named, path: str, name: str) -> _names.Name:
    target = named(path)
    if target is None:
        raise errors.UserError(f"{name} of the reference has no counterpart of {path}")
    return target


def _from_reference(path: str, value: np.ndarray, shape: tuple[int, ...]):
    if path.endswith("/kernel"):
        axes = (*range(2, value.ndim), 1, 0)
        return np.ascontiguousarray(value.transpose(axes))
    return value.reshape(shape) if value.size == np.prod(shape) else value


def _to_reference(path: str, value: np.ndarray, shape: tuple[int, ...] | None):
    if path.endswith("/kernel"):
        axes = (value.ndim - 1, value.ndim - 2, *range(value.ndim - 2))
        value = np.ascontiguousarray(value.transpose(axes))
    return value if shape is None else value.reshape(shape)


def _only_channels(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a kernel is the first one's, for images of another number of channels."""
    return (
        len(found) == 4
        and wanted[2] == 3
        and found == (*wanted[:2], found[2], wanted[3])
    )


def _adapt_channels(variables: dict[str, Any], model: nn.Module, in_channels: int):
    shapes, others = shapes_of(model), shapes_of(model, in_channels=5)
    (first,) = (path for path in shapes if shapes[path].shape != others[path].shape)
    kernel = variables[first]
    channels = kernel.shape[2]
    if channels == in_channels:
        return
    warnings.warn(
        f"made the first kernel, of {channels} channels, one of {in_channels}",
        stacklevel=3,
    )
    if in_channels == 1:
        adapted = kernel.sum(axis=2, keepdims=True, dtype=np.float32)
    else:
        repeated = kernel[:, :, np.arange(in_channels) % channels]
        adapted = repeated * (channels / in_channels)
    variables[first] = adapted.astype(kernel.dtype)


def _nested(variables: dict[str, Any]) -> Variables:
    return flax.traverse_util.unflatten_dict(variables, sep="/")


def _few(names: Iterable[str], most: int = 20) -> str:
    names = [*names]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
