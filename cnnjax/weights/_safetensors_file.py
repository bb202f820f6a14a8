"""Safetensors files: named arrays, and a header with text about them."""

import os
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from cnnjax.errors import UserError


_DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "I16": np.int16,
    "U16": np.uint16,
    "I32": np.int32,
    "U32": np.uint32,
    "I64": np.int64,
    "U64": np.uint64,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F32": np.float32,
    "F64": np.float64,
}


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the arrays of a `.safetensors` file and the text in its header.

    Raises:
      UserError: if the file is damaged or holds numbers that NumPy has not.
    """
    try:
        data = path.read_bytes()
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        arrays = {}
        for name, view in safetensors.deserialize(data):
            if view["dtype"] not in _DTYPES:
                raise UserError(f"{path}: {name} has numbers of type {view['dtype']}")
            flat = np.frombuffer(view["data"], _DTYPES[view["dtype"]])
            arrays[name] = flat.reshape(view["shape"])
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged, or no safetensors file: {error}") from error
    return arrays, metadata


def save(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    contiguous = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    try:
        # `save_file` would make a file that only its owner can read.
        scratch.write_bytes(safetensors.numpy.save(contiguous, dict(metadata)))
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
