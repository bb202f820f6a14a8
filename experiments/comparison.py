"""Runs of one script with other options, over seeds: what comparisons share."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import rich.console
import rich.table

from cnnjax import errors


@dataclasses.dataclass(frozen=True)
class ComparisonConfig:
    """Options of a comparison."""

    preset: str = "default"
    """`default`, or `smoke` for a quick look."""
    cases: tuple[str, ...] = ()
    """Which of the cases to run."""
    epochs: int = 1
    """How often each goes through the training images."""
    seeds: tuple[int, ...] = (0,)
    """Each case is run with all of them."""
    data_dir: Path | None = None
    """Where prepared data sets live (default: `cnnjax` in the user's cache folder)."""


def compare(
    experiment: ModuleType,
    cases: Mapping[str, Mapping[str, Any]],
    config: ComparisonConfig,
    scores: Mapping[str, Callable[[dict[str, Any]], float]],
) -> dict[str, list[float]]:
    """Prints a table; returns the first score of each case, by seed.

    Args:
      experiment: the script, with `PRESETS` and `main`.
      cases: by name, options that differ from the preset's.
      config: what to run.
      scores: by title, what is read off the results of a run.

    Raises:
      UserError: if there is no such case.
    """
    for name in config.cases:
        if name not in cases:
            raise errors.unknown("case", name, cases)
    table = rich.table.Table("case", "parameters", "M-MACs", *scores, "s")
    found = {}
    for name in config.cases:
        options = dataclasses.replace(
            experiment.PRESETS[config.preset],
            data_dir=config.data_dir,
            epochs=config.epochs,
            **cases[name],
        )
        runs = [run(experiment, options, seed) for seed in config.seeds]
        values = [[read(results) for results in runs] for read in scores.values()]
        found[name] = values[0]
        table.add_row(
            name,
            f"{runs[0]['num_params']:,}",
            f"{runs[0]['macs'] / 1e6:.0f}",
            *map(spread, values),
            f"{np.mean([results['seconds'] for results in runs]):.0f}",
        )
    rich.console.Console().print(table)
    return found


def run(experiment: ModuleType, options: Any, seed: int) -> dict[str, Any]:
    """Returns the results of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder, "run")
        return experiment.main(dataclasses.replace(options, seed=seed, run_dir=run_dir))


def spread(values: list[float]) -> str:
    """Returns the mean and, of several values, the deviation."""
    text = f"{np.mean(values):.3f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.3f}"
