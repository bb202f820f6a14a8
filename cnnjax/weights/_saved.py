"""A file that holds a model as well as its weights."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np

from cnnjax import errors, registry
from cnnjax.models import Network
from cnnjax.trees import few
from cnnjax.weights import _safetensors_file
from cnnjax.weights._convert import Variables
from cnnjax.weights._preprocessing import Preprocessing
from cnnjax.weights._shapes import misfits
from cnnjax.weights._storage import compress, expand


MARK = "cnnjax_model"  # What tells such a file from others: the variant's name.
_STORAGE = "cnnjax_storage"
_CLASS_NAMES = "cnnjax_class_names"
_DTYPES = ("dtype", "param_dtype")  # The fields that JSON has no value for.


def save(
    path: str | os.PathLike[str],
    name: str,
    variables: Mapping[str, Any],
    *,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    storage: str | None = None,
    **options: Any,
) -> None:
    """Writes a model and its weights into one file, whole or not at all.

    Args:
      path: the `.safetensors` file.
      name: of the variant, from `cnnjax.list_models()`.
      variables: {"params": …, "batch_stats": …} of
        `cnnjax.create(name, **options)`.
      preprocessing: what images have to go through, if it should be kept.
      class_names: one per class, if they should be kept.
      storage: what kernels are kept in: "bfloat16", a half of float32's bytes; or
        "int8", a quarter, with a scale per output channel. `restore` makes float32 of
        them again. None keeps them as they are.
      **options: of the model: numbers, texts, dtypes, tuples of them, and dataclasses
        such as a detector's `selection`. Functions cannot be kept; give them to
        `restore`.

    Raises:
      UserError: if the variables are not the model's, naming each; if an option cannot
        be kept; if there are not as many names as classes; or if the variables cannot
        be stored so: they have to be float32.
    """
    model = registry.create(name, **options)
    if problems := misfits(model, variables):
        raise errors.UserError(f"these are no variables of {name}: {few(problems)}")
    metadata = {MARK: name, "cnnjax_options": _encode(options)}
    if preprocessing is not None:
        fields = dataclasses.asdict(preprocessing)
        metadata["cnnjax_preprocessing"] = json.dumps(fields)
    if class_names is not None:
        if len(class_names) != model.num_classes:
            raise errors.UserError(
                f"{len(class_names)} class names for {model.num_classes} classes"
            )
        metadata[_CLASS_NAMES] = json.dumps([*class_names])
    flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    arrays = {path: np.asarray(value) for path, value in flat.items()}
    if storage is not None:
        arrays, metadata[_STORAGE] = compress(arrays, storage), storage
    _safetensors_file.save(Path(path), arrays, metadata)


def restore(path: str | os.PathLike[str], **options: Any) -> tuple[Network, Variables]:
    """Reads what `save` wrote; it needs nothing else.

    Args:
      path: the `.safetensors` file.
      **options: of the model that should differ from those in the file, e.g.
        `axis_name`, `conv_general_dilated`.

    Returns:
      The model and {"params": …, "batch_stats": …}.

    Raises:
      UserError: if there is no such file, it is damaged, `save` did not write it, or
        its variables are not the model's, naming each.
    """
    name, kept, arrays, metadata = _read(path)
    if _STORAGE in metadata:
        try:
            arrays = expand(arrays, metadata[_STORAGE])
        except errors.UserError as error:
            raise errors.UserError(f"{path} is damaged: {error}") from error
    variables = flax.traverse_util.unflatten_dict(arrays, sep="/")
    try:
        model = registry.create(name, **{**kept, **options})
        problems = misfits(model, variables)
    except errors.UserError:
        raise
    except Exception as error:  # Whatever nonsense from outside makes a model do.
        raise errors.UserError(f"{path}: no model has its options: {error}") from error
    if problems:
        raise errors.UserError(f"{path} does not fit {name}: {few(problems)}")
    return model, variables


def is_saved(path: str | os.PathLike[str]) -> bool:
    """Returns whether `save` wrote a file, so that `restore` can read it."""
    return saved_name(path) is not None


def saved_name(path: str | os.PathLike[str]) -> str | None:
    """Returns the variant's name in a file that `save` wrote; None for other files."""
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    return _safetensors_file.load(path)[1].get(MARK)


def class_names(path: str | os.PathLike[str]) -> list[str] | None:
    """Returns the names of the classes in a file that `save` wrote; None without.

    Raises:
      UserError: if the file is damaged.
    """
    if not is_saved(path):
        return None
    text = _read(path)[3].get(_CLASS_NAMES)
    try:
        return None if text is None else [*map(str, json.loads(text))]
    except (ValueError, TypeError) as error:
        raise errors.UserError(f"{path}: its class names are damaged") from error


def kept_preprocessing(path: Path) -> Preprocessing:
    """Returns what images have to go through for the weights that `save` wrote.

    Where none was kept, it is that of most of the weights for ImageNet at the model's
    size.
    """
    name, options, _, metadata = _read(path)
    if "cnnjax_preprocessing" in metadata:
        return Preprocessing(**_decode(metadata["cnnjax_preprocessing"]))
    return Preprocessing(registry.create(name, **options).image_size)


def _read(path: str | os.PathLike[str]):
    path = Path(path)
    if not path.is_file():
        raise errors.UserError(f"there is no file {path}")
    arrays, metadata = _safetensors_file.load(path)
    if MARK not in metadata:
        raise errors.UserError(
            f"{path} does not say which model it is of; read it with `weights.load`"
        )
    try:
        options = _decode(metadata.get("cnnjax_options", "{}"))
        options |= _dataclasses(metadata[MARK], options)
    except (ValueError, TypeError, AttributeError) as error:
        raise errors.UserError(f"{path}: its options are damaged: {error}") from error
    return metadata[MARK], options, arrays, metadata


def _encode(options: Mapping[str, Any]) -> str:
    plain = {
        key: jnp.dtype(value).name if key in _DTYPES and value is not None else value
        for key, value in options.items()
    }
    try:
        return json.dumps(plain, default=_fields)
    except TypeError as error:
        raise errors.UserError(
            f"an option cannot be kept in a file: {error}; give it to `restore`"
        ) from error


def _fields(value: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass, which `_dataclasses` makes one again."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{value!r} is no number, text, tuple or dataclass")
    return dataclasses.asdict(value)


def _dataclasses(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that are fields, as what the model has by default there."""
    fields = {key: value for key, value in options.items() if isinstance(value, dict)}
    model = registry.create(name) if fields else None
    made = {}
    for key, values in fields.items():
        kind = type(getattr(model, key))
        if not dataclasses.is_dataclass(kind):
            raise TypeError(f"{key} has no fields")
        made[key] = kind(**{field: _hashable(x) for field, x in values.items()})
    return made


def _decode(text: str) -> dict[str, Any]:
    options = json.loads(text)
    return {
        key: jnp.dtype(value) if key in _DTYPES and value else _hashable(value)
        for key, value in options.items()
    }


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
