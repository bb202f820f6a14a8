"""Reads programs in XLA's notation, as `compiled.as_text()` gives them."""

import dataclasses
import math
import re


_INSTRUCTION = re.compile(
    r"\s*(?:ROOT )?%(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<op>[\w\-]+)"
    r"\((?P<operands>.*?)\)[,\n]?(?P<rest>.*)"
)
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s64": 8, "f64": 8}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a program.

    Attributes:
      name: of its result.
      type: of its result, such as `f32[8,3]{1,0}`.
      op: what it does.
      operands: names of what it reads.
      rest: all that follows in the line.
    """

    name: str
    type: str
    op: str
    operands: list[str]
    rest: str

    @property
    def origin(self) -> str:
        """The path of the operation of JAX that it is of."""
        return "".join(re.findall(r'op_name="(.*?)"', self.rest))


Computations = dict[str, list[Instruction]]


def entry(text: str) -> list[Instruction]:
    """Returns the instructions of the program itself, in the order of its schedule."""
    return _instructions(text[text.index("ENTRY") :])


def computations(text: str) -> Computations:
    """Returns the instructions of what the program calls, by name."""
    blocks = re.findall(r"^%([\w.\-]+) \([^\n]*\{\n(.*?)^\}", text, re.M | re.S)
    return {name: _instructions(body) for name, body in blocks}


def shapes(types: str) -> list[tuple[int, ...]]:
    """Returns the shapes of a type, which may be a tuple."""
    found = re.findall(r"\w+\[([\d,]*)\]", types)
    return [tuple(map(int, filter(None, shape.split(",")))) for shape in found]


def num_bytes(types: str) -> int:
    """Returns how large what has this type is."""
    dtypes = re.findall(r"(\w+)\[[\d,]*\]", types)
    sizes = map(math.prod, shapes(types))
    return sum(_BYTES.get(d, 4) * n for d, n in zip(dtypes, sizes, strict=True))


def _instructions(text: str) -> list[Instruction]:
    matches = filter(None, map(_INSTRUCTION.match, text.splitlines()))
    return [
        Instruction(
            m["name"],
            m["type"],
            m["op"],
            re.findall(r"%([\w.\-]+)", m["operands"]),
            m["rest"],
        )
        for m in matches
    ]
