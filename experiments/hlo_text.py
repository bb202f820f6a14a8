"""Reads compiled programs in XLA's notation: what chips exchange, and what they move.

References: https://openxla.org/xla/operation_semantics and
https://openxla.org/xla/tiled_layout. A layout such as `{1,0:T(8,128)S(1)}` says the
order of the axes, that of the fastest first; the tiles that the last of these axes are
filled up to; and the memory: `S(1)` is a TPU's vector memory, and without an `S` an
array lies in the main memory (HBM).
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple


COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
COLLECTIVES += ("collective-permute", "collective-broadcast")

_INSTRUCTION = re.compile(
    r"\s*(?:ROOT )?%(?P<name>[\w.\-]+) = (?P<type>.*?) (?P<op>[\w\-]+)"
    r"\((?P<operands>(?:[^()]|\([^()]*\))*)\)"
)
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\](?:\{([\d,]*)(?::T\(([\d,]+)\))?([^}]*)\})?")
# They name arrays, or call other computations, and move nothing themselves.
_FREE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all"}
_FREE |= {"while", "conditional", "call"}


class Array(NamedTuple):
    """One array of a program.

    Attributes:
      dtype: in XLA's notation, e.g. "bf16".
      shape: its sizes.
      filled: its sizes in memory, filled up to whole tiles; in another order.
      in_main_memory: whether it lies there.
    """

    dtype: str
    shape: tuple[int, ...]
    filled: tuple[int, ...]
    in_main_memory: bool

    @property
    def num_bytes(self) -> int:
        """How many its numbers take."""
        return self._bits * math.prod(self.shape) // 8

    @property
    def filled_bytes(self) -> int:
        """How many it takes in memory."""
        return self._bits * math.prod(self.filled) // 8

    @property
    def _bits(self) -> int:
        digits = re.search(r"\d+", self.dtype)
        return int(digits[0]) if digits else 8 if self.dtype == "pred" else 0


class Instruction(NamedTuple):
    """One line of a program.

    Attributes:
      name: of the result.
      op: what is done.
      arrays: the result's.
      operands: names of what it is done with.
    """

    name: str
    op: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of the result."""
        return sum(array.num_bytes for array in self.arrays)


def instructions(text: str) -> Iterator[Instruction]:
    """Yields the instructions of all computations."""
    for line in text.splitlines():
        if match := _INSTRUCTION.match(line):
            arrays = tuple(_array(*found) for found in _ARRAY.findall(match["type"]))
            operands = tuple(re.findall(r"%([\w.\-]+)", match["operands"]))
            yield Instruction(match["name"], match["op"], arrays, operands)


def _array(dtype: str, shape: str, order: str, tile: str, rest: str) -> Array:
    sizes = _integers(shape)
    filled = [sizes[axis] for axis in _integers(order)] if order else list(sizes)
    for i, side in enumerate(_integers(tile)[::-1][: len(filled)]):
        filled[i] = -(-filled[i] // side) * side
    return Array(dtype, sizes, tuple(filled), "S(" not in rest)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def collectives(text: str) -> list[Instruction]:
    """Returns the instructions by which devices exchange arrays.

    Of those in two parts the first counts, as what it does: "all-reduce" for
    "all-reduce-start".
    """
    found = []
    for name, op, arrays, operands in instructions(text):
        if (kind := op.removesuffix("-start")) in COLLECTIVES:
            if op != kind and kind != "all-reduce":  # (operands, results, ...).
                arrays = arrays[len(operands) : 2 * len(operands)]
            found.append(Instruction(name, kind, arrays, operands))
    return found


def main_memory_bytes(text: str) -> int:
    """Returns how many bytes the main program reads from the main memory and writes.

    Every instruction reads its operands and writes its result once, whole tiles of
    them; copies and slices in two parts move what they result in. Bodies of loops are
    not followed.
    """
    arrays: dict[str, tuple[Array, ...]] = {}
    total = 0
    for instruction in instructions(text[text.index("ENTRY ") :]):
        name, op, results, operands = instruction
        arrays[name] = results
        if op in _FREE or op.endswith("-done"):
            continue
        inputs = [array for operand in operands for array in arrays.get(operand, ())]
        if op in ("copy-start", "slice-start"):
            # The result is (copy, original, ...) or ((original), slice, ...).
            moved = results[0] if op == "copy-start" else results[len(inputs)]
            ends = (inputs[0].in_main_memory, moved.in_main_memory)
            total += sum(ends) * moved.filled_bytes
        else:
            both = (*inputs, *results)
            total += sum(x.filled_bytes for x in both if x.in_main_memory)
    return total


def estimated_cycles(text: str) -> int:
    """Returns the cycles that XLA's cost model for TPUs gives the main program."""
    cycles = re.findall(r'"estimated_cycles":"(\d+)"', text[text.index("ENTRY ") :])
    return sum(map(int, cycles))
