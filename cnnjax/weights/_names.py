"""From the paths of our parameters to the names in a reference implementation."""

import importlib
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn


Table = Mapping[str, str | tuple[str, tuple[int, ...]]]

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class Name(NamedTuple):
    """A parameter in a reference implementation.

    Attributes:
      key: its name in a state_dict.
      shape: that it has there, if that is not its own; -1 once for what is left.
    """

    key: str
    shape: tuple[int, ...] | None = None


class _Number(int):
    """An integer that a format specification is added to."""

    def __format__(self, spec: str) -> str:
        return str(int(self) + int(spec or 0))


def _fields(match: re.Match) -> dict[str, _Number]:
    return {name: _Number(value) for name, value in match.groupdict().items()}


def namer(table: Table) -> Callable[[str], Name | None]:
    """Returns the function that names a path, `params/stem/kernel` for instance."""
    rules = []
    for pattern, name in table.items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]+)", re.escape(pattern))
        template, shape = (name, None) if isinstance(name, str) else name
        rules.append((re.compile(pattern), template, shape))

    def named(path: str) -> Name | None:
        _, _, path = path.partition("/")
        module, _, leaf = path.rpartition("/")
        for whole, suffix in ((path, ""), (module, f".{LEAVES.get(leaf, leaf)}")):
            for pattern, template, shape in rules:
                if match := pattern.fullmatch(whole):
                    return Name(template.format(**_fields(match)) + suffix, shape)
        return None

    return named


def sources(model: nn.Module) -> list[Callable[[str], Name | None]]:
    """Returns the namers of a model, that of its golden source first."""
    family = type(model).__module__.rpartition(".")[2]
    module = importlib.import_module(f"cnnjax.weights.names.{family}")
    return [namer(source(model)) for source in module.SOURCES]
