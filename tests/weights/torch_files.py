"""Writes PyTorch's two file formats without PyTorch, as `torch.save` does."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from unittest import mock

import numpy as np


STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def _rebuild_tensor_v2(*arguments):
    raise AssertionError("must only be pickled by name")


_rebuild_tensor_v2.__module__ = "torch._utils"
_TYPES = {
    dtype: type(name, (), {"__module__": "torch"}) for dtype, name in STORAGES.items()
}


class _Numbers:
    def __init__(self, key, array):
        self.key, self.array = key, array


class _Tensor:
    def __init__(self, key, array):
        strides = tuple(stride // array.itemsize for stride in array.strides)
        numbers = _Numbers(key, array)
        self.arguments = (numbers, 0, array.shape, strides, False, OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def __init__(self, file, view):
        super().__init__(file, protocol=2)
        self.view = view

    def persistent_id(self, value):
        if not isinstance(value, _Numbers):
            return None
        kind = _TYPES[value.array.dtype.name]
        return ("storage", kind, value.key, "cpu", value.array.size, *self.view)


def _pickled(state, view=()):
    """Returns the pickle of a state_dict whose values' keys count from 0."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for kind in _TYPES.values():
        setattr(torch, kind.__name__, kind)
    torch._utils = utils
    file = io.BytesIO()
    tensors = OrderedDict(
        (name, _Tensor(str(i), array)) for i, (name, array) in enumerate(state.items())
    )
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        _Pickler(file, view).dump({"state_dict": tensors, "epoch": 3})
    return file.getvalue()


def zipped(state):
    """Returns a file of the zip format, PyTorch 1.6 and later."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/data.pkl", _pickled(state))
        archive.writestr("weights/byteorder", b"little")
        for i, array in enumerate(state.values()):
            archive.writestr(f"weights/data/{i}", np.ascontiguousarray(array).tobytes())
        archive.writestr("weights/version", b"3\n")
    return file.getvalue()


def old(state):
    """Returns a file of the format before."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    parts = [pickle.dumps(value, protocol=2) for value in head]
    parts.append(_pickled(state, view=(None,)))
    parts.append(pickle.dumps([str(i) for i in range(len(state))], protocol=2))
    for array in state.values():
        parts += [array.size.to_bytes(8, "little"), array.tobytes()]
    return b"".join(parts)
