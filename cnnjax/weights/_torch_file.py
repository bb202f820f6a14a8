"""PyTorch's files: the zip format, and the pickles in a row that came before it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.errors import UserError
from cnnjax.weights import _pickle


# What begins a file of the old format, and its version.
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
# Where checkpoints keep the weights, beside the optimiser's state and the like.
INNER = ("state_dict_ema", "state_dict", "model_ema", "model", "model_state_dict")


def load(path: Path) -> dict[str, np.ndarray]:
    """Reads the state_dict of a `.pth`, `.pt` or `.bin`; runs nothing of it.

    Raises:
      UserError: if the file is damaged, refers to anything but tensors, or holds none.
    """
    try:
        with path.open("rb") as file:
            old = not zipfile.is_zipfile(file)
            file.seek(0)
            value, storages = _old(file) if old else _zipped(file)
        return _state_dict(value, storages)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _zipped(file: io.BufferedIOBase) -> tuple[Any, dict[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            pickles = [name for name in entries if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise UserError("a zip file, but none of PyTorch's")
            folder = pickles[0].removesuffix("data.pkl")

            def read(name: str) -> bytes:
                # PyTorch compresses nothing; whoever did might want to fill the memory.
                if entries[name].compress_type != zipfile.ZIP_STORED:
                    raise UserError(f"{name} is compressed")
                return archive.read(name)

            if (
                f"{folder}byteorder" in entries
                and read(f"{folder}byteorder") != b"little"
            ):
                raise UserError("its byte order is not little-endian")
            value = _pickle.load(io.BytesIO(read(pickles[0])))
            storages = {}
            for storage in {t.storage for t in _tensors(value)}:
                name = f"{folder}data/{storage.key}"
                if name not in entries:
                    raise UserError(f"lacks the storage {storage.key}")
                storages[storage.key] = _numbers(read(name), storage)
            return value, storages
    except UserError:
        raise
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
        *(RuntimeError, ValueError, OverflowError, MemoryError),
    ) as error:  # RuntimeError: encrypted, or compressed in a way that Python lacks.
        raise UserError(f"the zip file is damaged ({error})") from error


def _old(file: io.BufferedIOBase) -> tuple[Any, dict[str, np.ndarray]]:
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    if _pickle.load(file) != MAGIC or _pickle.load(file) != VERSION:
        raise UserError("no file of PyTorch's")
    _pickle.load(file)  # The machine that wrote it: byte order, sizes of integers.
    value = _pickle.load(file)
    keys = _pickle.load(file)
    used = {tensor.storage.key: tensor.storage for tensor in _tensors(value)}
    storages = {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in used:
            raise UserError("has a storage that no tensor refers to")
        dtype = used[key].dtype
        length = file.read(8)
        size = int.from_bytes(length, "little", signed=True)
        if len(length) < 8 or not 0 <= size * dtype.itemsize <= end - file.tell():
            raise UserError(f"the storage {key} is truncated")
        data = file.read(size * dtype.itemsize)
        whole = _pickle.Storage(dtype, key, size)
        storages[key] = _numbers(data, whole)
    if missing := used.keys() - storages.keys():
        raise UserError(f"lacks the storages {', '.join(sorted(missing))}")
    return value, storages


def _numbers(data: bytes, storage: _pickle.Storage) -> np.ndarray:
    if len(data) != storage.size * storage.dtype.itemsize:
        raise UserError(f"the storage {storage.key} is truncated")
    return np.frombuffer(data, storage.dtype)


def _tensors(value: Any) -> list[_pickle.Tensor]:
    """Returns every tensor within containers; shared ones once, however nested."""
    found, seen, todo = [], set(), [value]
    while todo:
        item = todo.pop()
        if isinstance(item, _pickle.Tensor):
            found.append(item)
        elif isinstance(item, dict | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            todo.extend(item.values() if isinstance(item, dict) else item)
    return found


def _state_dict(
    value: Any, storages: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    for name in INNER:
        if isinstance(value, dict) and isinstance(value.get(name), dict):
            value = value[name]
            break
    if not isinstance(value, dict):
        raise UserError(f"holds a {type(value).__name__} instead of a state_dict")
    tensors = {k: v for k, v in value.items() if isinstance(v, _pickle.Tensor)}
    if not tensors or not all(isinstance(key, str) for key in tensors):
        raise UserError("holds no tensors by name")
    state = {}
    for key, tensor in tensors.items():
        numbers = storages[tensor.storage.key]
        if numbers.dtype != tensor.storage.dtype:
            raise UserError(f"{key} reads numbers of another type")
        start = tensor.storage.start
        state[key] = tensor.view(numbers[start : start + tensor.storage.size])
    return state
