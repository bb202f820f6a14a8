"""Variables from and to the state_dict of a reference implementation."""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from cnnjax import errors, registry
from cnnjax.trees import few
from cnnjax.weights._names import Name, Namer, namers
from cnnjax.weights._shapes import first_kernel, head, shapes_of
from cnnjax.weights._stacking import unroll


Variables = dict[str, Any]

# What a state_dict holds besides parameters and statistics of ours: counters, constants
# of attention, and heads that segmentation networks have in training only.
NO_VARIABLE = re.compile(
    r".*\.(num_batches_tracked|relative_position_index|attn_mask)|aux_classifier\..*"
)
# What others' training puts before every name.
PREFIXES = ("module.", "_orig_mod.", "model.")


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
      in_channels: another number than the file's; the first kernel is summed up for one
        channel, or repeated over more and scaled, with a warning.
      **options: of the model, where its parameters depend on them.

    Returns:
      {"params": …, "batch_stats": …} for `cnnjax.create(name, num_classes=…)`.

    Raises:
      UserError: names every key that is missing, unexpected or of another shape.
    """
    state = {key: np.asarray(value) for key, value in state_dict.items()}
    for prefix in PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): state[key] for key in state}
    model = registry.create(name, **options)
    shapes = shapes_of(model)
    names = _fitting(namers(model), shapes, state)
    bias, logits = head(model, shapes)
    biases = state.get(names(bias).key)
    if biases is None or biases.ndim != 1:
        raise errors.UserError(
            f"these weights lack the head of {name}; they have {few(state)}"
        )
    if (classes := len(biases) // logits) != model.num_classes:
        model = model.clone(num_classes=classes)
        shapes = shapes_of(model)
    first = first_kernel(model, shapes)

    variables, problems = {}, []
    left = {
        key: value for key, value in state.items() if not NO_VARIABLE.fullmatch(key)
    }
    for path, wanted in shapes.items():
        key = (target := names(path)).key
        if key not in left:
            problems.append(f"missing {key}")
            continue
        value = left.pop(key)
        shape = _their_shape(path, wanted.shape, target)
        if path == first and value.ndim == len(shape):
            shape = (shape[0], value.shape[1], *shape[2:])
        if value.shape != shape:
            problems.append(f"{key} has shape {value.shape} instead of {shape}")
            continue
        variables[path] = _to_ours(path, value, wanted.shape, target)
    problems += [f"unexpected {key}" for key in left]
    if problems:
        raise errors.UserError(f"these are not weights of {name}: {few(problems)}")

    if num_classes not in (None, model.num_classes):
        warnings.warn(
            f"left out the head of {model.num_classes} classes; that of {num_classes} "
            f"begins at 0",
            stacklevel=2,
        )
        for path, wanted in shapes_of(model.clone(num_classes=num_classes)).items():
            if wanted.shape != shapes[path].shape:
                variables[path] = np.zeros(wanted.shape, variables[path].dtype)
    channels = variables[first].shape[2]
    if in_channels not in (None, channels):
        warnings.warn(
            f"made the first kernel, of {channels} channels, one of {in_channels}",
            stacklevel=2,
        )
        variables[first] = _with_channels(variables[first], in_channels)
    return flax.traverse_util.unflatten_dict(variables, sep="/")


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
      UserError: names every variable that is missing or unexpected.
    """
    model = registry.create(name, **options)
    names = namers(model)[0]
    flat = flax.traverse_util.flatten_dict(unroll(variables), sep="/")
    wanted = shapes_of(model).keys()
    problems = [f"missing {path}" for path in wanted if path not in flat]
    problems += [f"unexpected {path}" for path in flat if path not in wanted]
    if problems:
        raise errors.UserError(f"these are no variables of {name}: {few(problems)}")
    state = {}
    for path, value in flat.items():
        key = (target := names(path)).key
        state[key] = _to_theirs(path, np.asarray(value), target)
        if key.endswith(".running_mean"):
            counter = key.removesuffix("running_mean") + "num_batches_tracked"
            state[counter] = np.zeros((), np.int64)
    return state


def _with_channels(kernel: np.ndarray, in_channels: int) -> np.ndarray:
    channels = kernel.shape[2]
    if in_channels == 1:
        adapted = kernel.sum(axis=2, keepdims=True, dtype=np.float32)
    else:
        repeated = kernel[:, :, np.arange(in_channels) % channels]
        adapted = repeated * (channels / in_channels)
    return adapted.astype(kernel.dtype)


def _fitting(
    sources: list[Namer], paths: Iterable[str], state: Mapping[str, np.ndarray]
) -> Namer:
    """Returns the source whose names the weights have most of."""
    return max(sources, key=lambda names: sum(names(p).key in state for p in paths))


def _their_shape(path: str, shape: tuple[int, ...], target: Name) -> tuple[int, ...]:
    return _to_theirs(path, np.broadcast_to(np.int8(0), shape), target).shape


def _to_ours(
    path: str, value: np.ndarray, shape: tuple[int, ...], target: Name
) -> np.ndarray:
    """Kernels are [out, in, …] in PyTorch, and […, in, out] here."""
    if target.transposed:
        value = value.swapaxes(0, 1)
    if path.endswith("/kernel"):
        value = value.reshape(shape[-1], -1, *shape[:-2])
        return np.ascontiguousarray(np.moveaxis(value, (1, 0), (-2, -1)))
    return value.reshape(shape)


def _to_theirs(path: str, value: np.ndarray, target: Name) -> np.ndarray:
    if path.endswith("/kernel"):
        value = np.moveaxis(value, (-2, -1), (1, 0))
        value = value.swapaxes(0, 1) if target.transposed else value
        value = np.ascontiguousarray(value)
    return value if target.shape is None else value.reshape(target.shape)
