"""Parameters of a stage's blocks: each on its own, or stacked for a loop over them."""

import re
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np


STACKED = re.compile(r"(stage\d+)_blocks(\d+)to(\d+)")


def unroll(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Gives each block its own parameters: those of a model with `scan=False`.

    `stage1_blocks2to9` with arrays [8, …] becomes `stage1_block2` to `stage1_block9`.

    Args:
      variables: of any model; arrays, or shapes as from `jax.eval_shape`.
    """
    flat: dict[tuple[str, ...], Any] = {}
    for path, value in _flat(variables).items():
        for i, block in enumerate(_blocks(path)):
            if block == path:
                flat[path] = value
            elif isinstance(value, jax.ShapeDtypeStruct):
                flat[block] = jax.ShapeDtypeStruct(value.shape[1:], value.dtype)
            else:
                flat[block] = value[i]
    return flax.traverse_util.unflatten_dict(flat)


def roll(variables: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Stacks the parameters of blocks as a model with `scan=True` has them.

    Args:
      variables: of the model with `scan=False`.
      like: variables, or their shapes, of the model with `scan=True`.

    Raises:
      KeyError: names a path that `variables` lack.
    """
    flat, stacked = _flat(variables), {}
    for path in _flat(like):
        values = [flat[block] for block in _blocks(path)]
        if path in flat:
            stacked[path] = flat[path]
            continue
        stack = np.stack if isinstance(values[0], np.ndarray) else jnp.stack
        stacked[path] = stack(values)
    return flax.traverse_util.unflatten_dict(stacked)


def _flat(variables: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    flat: Any = flax.traverse_util.flatten_dict(dict(variables))
    return flat


def _blocks(path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Returns the paths of the blocks that are stacked under a path, or only itself."""
    for i, part in enumerate(path):
        if match := STACKED.fullmatch(part):
            stage, first, last = match.groups()
            return [
                (*path[:i], f"{stage}_block{number}", *path[i + 1 :])
                for number in range(int(first), int(last) + 1)
            ]
    return [path]
