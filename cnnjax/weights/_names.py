"""From the paths of our parameters to the names in a reference implementation."""

import importlib
import re
from collections.abc import Callable

import flax.linen as nn

from cnnjax import errors


LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class _Number(int):
    """An integer that a format specification is added to."""

    def __format__(self, spec: str) -> str:
        return str(int(self) + int(spec or 0))


def namer(model: nn.Module) -> Callable[[str], str]:
    """Returns the function that names a model's paths, e.g. `params/stem/kernel`.

    It raises a UserError for a path without a counterpart.
    """
    family = type(model).__module__.rpartition(".")[2]
    table = importlib.import_module(f"cnnjax.weights.names.{family}").NAMES
    rules = [
        (re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]+)", re.escape(ours)), theirs)
        for ours, theirs in table.items()
    ]

    def name(path: str) -> str:
        module, _, leaf = path.partition("/")[2].rpartition("/")
        for pattern, template in rules:
            if match := re.fullmatch(pattern, module):
                fields = {key: _Number(n) for key, n in match.groupdict().items()}
                return f"{template.format(**fields)}.{LEAVES[leaf]}"
        raise errors.UserError(f"the reference of {family} has nothing like {path}")

    return name
