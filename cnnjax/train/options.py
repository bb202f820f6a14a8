"""What every training script lets its user say about devices, folders and the end."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cnnjax import errors


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where and how a run is done, and when it ends."""

    patience: int = 0
    """Stops after so many epochs without a better score on the validation split, and
    goes back to the best; 0 never stops."""

    parallel: str = "sharded"
    """How devices share a batch: `sharded`, `fully_sharded` (parameters too),
    `shard_map`, `pmap`, or `jit` (one device alone)."""
    local_batch_norm: bool = False
    """With `shard_map` and `pmap`, each device normalises by its own images."""
    micro_batches: int = 1
    """In how many parts, one after the other, a gradient is computed, for memory."""
    coordinator: str = ""
    """Of several processes: `address:port` of the first; `auto` on TPU pods, Slurm."""
    num_processes: int = 1
    """How many processes there are, unless the coordinator is `auto`."""
    process_id: int = 0
    """Which of them this is, counting from 0, unless the coordinator is `auto`."""
    profile: int = 0
    """Traces so many steps (after the first ten) into the run's folder `profile`."""

    seed: int = 0
    """Of the initial parameters, the order and the augmentation."""

    run_dir: Path | None = None
    """Where config, metrics, checkpoints, results and pictures go (default: a new
    folder below `runs/`)."""
    resume: bool = False
    """Continue the run in `--run-dir`, or start it if there is none yet."""
    keep: int = 2
    """How many of the newest checkpoints to keep, besides the best."""

    def check_run(self) -> None:
        """Raises a UserError that names the first number out of its range."""
        positive, counts = ("keep", "micro_batches"), ("patience", "profile", "seed")
        check_numbers(self, "must be positive", lambda x: x > 0, positive)
        check_numbers(self, "must not be negative", lambda x: x >= 0, counts)
        if self.coordinator and self.run_dir is None:
            raise errors.UserError("several processes need one folder: add --run-dir")
        if not self.coordinator and (self.num_processes, self.process_id) != (1, 0):
            raise errors.UserError("several processes need a --coordinator")
        if self.local_batch_norm and self.parallel not in ("shard_map", "pmap"):
            raise errors.UserError("--local-batch-norm is for shard_map and pmap alone")


def check_numbers(
    options: Any, demand: str, holds: Callable[[Any], bool], names: Sequence[str]
) -> None:
    """Raises a UserError for the first option of which something does not hold.

    None holds for every demand.

    Args:
      options: a dataclass.
      demand: what an option has to do, as the error says it.
      holds: whether a value does it.
      names: the options' names.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not holds(value):
            option = f"--{name.replace('_', '-')}"
            raise errors.UserError(f"{option} is {value}; it {demand}")
