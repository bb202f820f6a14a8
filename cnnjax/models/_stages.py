"""Stages: blocks one after another, each on its own or all alike as one loop."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from cnnjax.models._classifier import Classifier
from cnnjax.ops._stored import stored


class StagedClassifier(Classifier):
    """A classifier whose stages consist of blocks.

    Attributes:
      scan: whether the blocks of a stage that are alike run as one loop, so that only
        one of them is compiled. Their parameters are stacked then, under the name
        `stage1_blocks2to9`; `cnnjax.weights.unroll` and `roll` convert.
      remat: whether a block's inner values are computed again in the backward pass
        instead of being kept, which saves memory.
    """

    scan: bool = False
    remat: bool = False

    def run_stage(
        self,
        x: Array,
        stage: int,
        block: Callable[..., nn.Module],
        options: Sequence[dict[str, Any]],
        drop_path_rates: Sequence[float] | None = None,
    ) -> Array:
        """Runs the blocks `stage{stage}_block1`, `…_block2`, …

        Args:
          x: images [n, h, w, c].
          stage: its number, from 1.
          block: constructor of a block.
          options: of each block, what the constructor takes.
          drop_path_rates: of each block, its call's second argument, if it has one (an
            argument, since like blocks of one loop differ in it).

        Returns:
          What the last block returns.
        """

        def step(module, x, rate):
            return stored(module(x) if rate is None else module(x, rate)), None

        once = nn.remat(step) if self.remat else step
        repeated = nn.remat(step, prevent_cse=False) if self.remat else step
        # The first changes the shape of its input, so that it is unlike the rest.
        for first, last in [(0, 1), *_runs(options[1:], self.scan)]:
            module = block(**options[first], name=_name(stage, first, last))
            rates = None if drop_path_rates is None else drop_path_rates[first:last]
            if last == first + 1:
                x, _ = once(module, x, rates and rates[0])
                continue
            loop = nn.scan(
                repeated,
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": True, "dropout": True},
                length=last - first,
            )
            x, _ = loop(module, x, rates and jnp.array(rates))
        return x


def _runs(options: Sequence[dict[str, Any]], scan: bool) -> list[tuple[int, int]]:
    """Returns (first, last + 1) of the runs of like blocks; the first is number 1."""
    lengths = []
    for _, run in itertools.groupby(options):
        length = len([*run])
        # After other blocks the first of a run is unlike the rest, again.
        lengths += [1, length - 1] if lengths and length > 1 else [length]
    if not scan:
        lengths = [1] * len(options)
    bounds = [*itertools.accumulate(lengths, initial=1)]
    return [*itertools.pairwise(bounds)]


def _name(stage: int, first: int, last: int) -> str:
    if last == first + 1:
        return f"stage{stage}_block{last}"
    return f"stage{stage}_blocks{first + 1}to{last}"
