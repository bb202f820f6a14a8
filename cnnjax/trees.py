"""Trees of variables by path: what two of them differ in."""

from collections.abc import Iterable, Mapping
from typing import Any

import flax.traverse_util
import numpy as np


def flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the leaves by path, e.g. "params/stem/kernel"."""
    return flax.traverse_util.flatten_dict(dict(variables), sep="/")


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Returns what is missing, unexpected or misshapen, by path.

    Args:
      found: arrays by path.
      wanted: arrays or shapes by path.
    """
    problems = [f"missing {path}" for path in wanted if path not in found]
    problems += [f"unexpected {path}" for path in found if path not in wanted]
    return problems + [
        f"{path} has shape {np.shape(found[path])} instead of {wanted[path].shape}"
        for path in wanted
        if path in found and np.shape(found[path]) != wanted[path].shape
    ]


def few(names: Iterable[str], most: int = 20) -> str:
    """Joins names for an error's line, the first ones of many."""
    names = [*names]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
