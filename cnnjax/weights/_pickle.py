"""A pickle machine that can build tensors and containers, and nothing else.

Pickles are programs. This one interprets the instructions that PyTorch's files consist
of; what a program may call are the names in `_CALLS` and the types of storage, all of
them ours, so that no program of a stranger's runs anything else.
"""

import io
import math
import pickletools
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from cnnjax.errors import UserError


# PyTorch's storages, https://docs.pytorch.org/docs/stable/tensors.html#data-types.
DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


MAX_DIMENSIONS = 64  # NumPy's.


class Storage(NamedTuple):
    """Where a tensor's numbers are.

    Attributes:
      dtype: of the numbers.
      key: name of the storage within the file.
      size: how many numbers it has.
      start: index of the first one, where several share the numbers of one key.
    """

    dtype: np.dtype
    key: str
    size: int
    start: int = 0


class Tensor(NamedTuple):
    """A view of a storage, whose numbers may not have been read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the tensor as an array of its own.

        Args:
          numbers: of the storage, in one dimension.

        Raises:
          UserError: if the view leaves the storage.
        """
        last = self.offset + sum(
            (n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True)
        )
        size = math.prod(self.shape)
        if size > numbers.size or (size and not 0 <= last < numbers.size):
            raise UserError(f"a tensor of shape {self.shape} leaves its storage")
        if size == 0:
            return np.zeros(self.shape, numbers.dtype)
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :],
            self.shape,
            [stride * numbers.itemsize for stride in self.strides],
        ).copy()


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48  # More than any file holds.


def _sizes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, tuple | list) or not all(map(_is_size, value)):
        raise UserError("a tensor's sizes are no sizes")
    if len(value) > MAX_DIMENSIONS or math.prod(filter(None, value)) >= 2**48:
        raise UserError("a tensor has more sizes than an array can")
    return tuple(value)


def _tensor(storage, offset, shape, strides, *_) -> Tensor:
    if not isinstance(storage, Storage) or not _is_size(offset):
        raise UserError("a tensor has no storage")
    shape = _sizes(shape)
    if not isinstance(strides, tuple | list) or not all(map(_is_size, strides)):
        raise UserError("a tensor's strides are no sizes")
    if len(shape) != len(strides):
        raise UserError("a tensor has more sizes than strides")
    return Tensor(storage, offset, shape, tuple(strides))


def _parameter(tensor, *_) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise UserError("a parameter is no tensor")
    return tensor


_CALLS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": lambda *_: {},
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
}


def _global(name: str) -> Any:
    """Looks up a name, "module attribute"; storages' types are their dtypes."""
    module, _, attribute = name.partition(" ")
    if module == "torch" and attribute in DTYPES:
        return DTYPES[attribute]
    if name not in _CALLS:
        raise UserError(f"refused to load {name.replace(' ', '.')}: it is no tensor")
    return _CALLS[name]


def _storage(pid: Any) -> Storage:
    """Resolves a reference to numbers outside the pickle."""
    if not isinstance(pid, tuple) or not 5 <= len(pid) <= 6:
        raise UserError("refers to something that is no storage")
    kind, dtype, key, _, size, *view = pid
    start = 0
    if view and view[0] is not None:  # Numbers of another storage, (key, start, size).
        _, start, size = view[0]
    if (
        kind != "storage"
        or not isinstance(dtype, np.dtype)
        or not isinstance(key, str)
        or not (_is_size(start) and _is_size(size))
    ):
        raise UserError("refers to something that is no storage")
    return Storage(dtype, key, size, start)


class _Machine:
    """The stack, its marks and the memo that the instructions work on."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def above_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def run(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "STOP" if len(stack) != 1:
                raise UserError("the pickle does not end with one object")
            case "PROTO" | "FRAME" | "STOP":
                return  # They say something about the pickle, not what to build.
            case "MARK":
                self.marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                kinds = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
                stack.append(kinds[name]())
            case "TUPLE":
                stack.append(tuple(self.above_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "APPEND" | "APPENDS":
                if name == "APPEND":
                    self.marks.append(len(stack) - 1)
                items = self.above_mark()
                _is(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                if name == "SETITEM":
                    self.marks.append(len(stack) - 2)
                items = self.above_mark()
                if not all(isinstance(key, str | int) for key in items[::2]):
                    raise UserError("has keys that are no names")
                target = _is(stack[-1], dict)
                target.update(zip(items[::2], items[1::2], strict=True))
            case "GLOBAL":
                stack.append(_global(argument))
            case "STACK_GLOBAL":
                attribute, module = _is(stack.pop(), str), stack.pop()
                stack.append(_global(_is(module, str) + " " + attribute))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                if function not in _CALLS.values():
                    raise UserError("calls something that is no function")
                stack.append(function(*arguments))
            case "BUILD":
                stack.pop()  # An OrderedDict's metadata: versions of modules.
            case _ if name.startswith(("BININT", "INT", "LONG", "BINFLOAT", "FLOAT")):
                stack.append(argument)
            case _ if "UNICODE" in name or name.endswith(("BINSTRING", "STRING")):
                stack.append(argument)
            case _:
                raise UserError(f"has an instruction that tensors do not need: {name}")


def _is(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise UserError(f"needs a {kind.__name__} where something else is")
    return value


def load(file: io.BufferedIOBase) -> Any:
    """Reads one pickle and leaves the file behind it.

    Returns:
      Dictionaries, lists, tuples, numbers, strings, and tensors as `Tensor`.

    Raises:
      UserError: if it is damaged, or consists of more than that.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):  # pyright: ignore[reportArgumentType]
            machine.run(opcode.name, argument)
        return machine.stack[0]
    except UserError:
        raise
    except (
        *(ValueError, TypeError, KeyError, IndexError, AttributeError),
        *(struct.error, OverflowError, RecursionError, MemoryError),
    ) as error:
        raise UserError(f"the pickle is damaged ({type(error).__name__})") from error
