"""From the paths of our parameters to the names in a reference implementation."""

import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn

from cnnjax import errors


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
      shape: that it has there, where it is another; -1 stands for what is left.
      transposed: whether it is a kernel whose inputs come first there.
    """

    key: str
    shape: tuple[int, ...] | None = None
    transposed: bool = False


Table = Mapping[str, str | tuple[str, tuple[int, ...]] | Name]
Namer = Callable[[str], Name]


class _Number(int):
    """An integer that a format specification is added to."""

    def __format__(self, spec: str) -> str:
        return str(int(self) + int(spec or 0))


def namers(model: nn.Module) -> list[Namer]:
    """Returns functions that name a model's paths, e.g. `params/stem/kernel`.

    There is one for each source of weights, that of the golden files first. They raise
    a UserError for a path without a counterpart.
    """
    family = type(model).__module__.rpartition(".")[2]
    name = f"cnnjax.weights.names.{family}"
    if importlib.util.find_spec(name) is None:
        raise errors.UserError(f"{family} has no reference whose weights could be read")
    module = importlib.import_module(name)
    return [_namer(family, source(model)) for source in module.SOURCES]


def _namer(family: str, table: Table) -> Namer:
    rules = []
    for ours, theirs in table.items():
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]+)", re.escape(ours))
        if not isinstance(theirs, Name):
            theirs = Name(theirs) if isinstance(theirs, str) else Name(*theirs)
        rules.append((re.compile(pattern), theirs))

    def name(path: str) -> Name:
        variable = path.partition("/")[2]
        module, _, leaf = variable.rpartition("/")
        for part, suffix in ((variable, ""), (module, f".{LEAVES.get(leaf, leaf)}")):
            for pattern, rule in rules:
                if match := pattern.fullmatch(part):
                    fields = {key: _Number(n) for key, n in match.groupdict().items()}
                    return rule._replace(key=rule.key.format(**fields) + suffix)
        raise errors.UserError(f"the reference of {family} has nothing like {path}")

    return name
