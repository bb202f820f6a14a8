"""Files that hold a program and its arrays: written whole, and read warily."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import cnnjax
from cnnjax.errors import UserError
from cnnjax.weights import _safetensors_file


MARK = "cnnjax_artefact"  # What tells such a file from others: its format.
FORMAT = "1"  # Raised whenever older readers would misunderstand a file.
_VERSION = "cnnjax_version"
_PROGRAM, _ARRAYS = "program", "arrays/"


def write_artefact(
    path: str | os.PathLike[str],
    program: bytes,
    arrays: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
) -> None:
    """Writes a safetensors file: the program as bytes, and the arrays by name.

    Args:
      path: the file.
      program: of any form.
      arrays: what it works on.
      metadata: text about it for the file's header.
    """
    known = {MARK: FORMAT, _VERSION: cnnjax.__version__}
    tensors = {f"{_ARRAYS}{name}": array for name, array in arrays.items()}
    tensors[_PROGRAM] = np.frombuffer(program, np.uint8)
    _safetensors_file.save(Path(path), tensors, {**metadata, **known})


def read_artefact(
    path: str | os.PathLike[str],
) -> tuple[bytes, dict[str, np.ndarray], dict[str, str]]:
    """Reads what `write_artefact` wrote; nothing in it is run.

    Args:
      path: the file.

    Returns:
      The program, the arrays and the metadata.

    Raises:
      UserError: if there is no such file, it is damaged, nothing that `write_artefact`
        wrote, or of a format that this version does not read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    tensors, metadata = _safetensors_file.load(path)
    version = metadata.get(MARK)
    if version is None:
        raise UserError(f"{path} holds no program, but {len(tensors)} arrays")
    if version != FORMAT:
        raise UserError(
            f"{path} has format {version} (cnnjax {metadata.get(_VERSION)} wrote it), "
            f"but cnnjax {cnnjax.__version__} reads format {FORMAT}: write it again"
        )
    program = tensors.pop(_PROGRAM, None)
    named = all(name.startswith(_ARRAYS) for name in tensors)
    if program is None or program.dtype != np.uint8 or program.ndim != 1 or not named:
        raise UserError(f"{path} is damaged: its program or an array is missing")
    arrays = {name.removeprefix(_ARRAYS): array for name, array in tensors.items()}
    return program.tobytes(), arrays, metadata


def read_json(path: Path, metadata: Mapping[str, str], key: str, kind: type) -> Any:
    """Returns a value that stands in the metadata as JSON.

    Args:
      path: the file, for the message.
      metadata: of the file.
      key: of the value.
      kind: the type that it has to have.

    Raises:
      UserError: if there is none, or none of that type.
    """
    try:
        value = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: its {key} cannot be read") from error
    if type(value) is not kind:
        raise UserError(f"{path} is damaged: its {key} is {value!r}")
    return value
