"""Compares losses, skip connections and deformable blocks on scenes of digits.

Claim: where little is foreground, losses that weigh it up find more of it; without
skip connections a U-Net loses outlines. That deformable blocks pay in a U-Net on a
ResNet was claimed, too, and did not come out.

    python experiments/compare_segmentation.py
    python experiments/compare_segmentation.py --cases "dense, dice" "sparse, dice"

Each case is a run of `segment.py` with other options, four minutes on two cores.
"Digits" is the mean IoU without the background's. What came of it:
`docs/segmentation.md`.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rich.console
import rich.table
import segment

import cnnjax
from cnnjax import cli, cost, errors


LOSSES = ("cross_entropy", "focal", "dice", "focal+dice")
CASES: dict[str, dict[str, Any]] = {
    f"{kind}, {loss}": {"dataset": f"scenes/{kind}", "loss": loss}
    for kind in ("dense", "sparse")
    for loss in LOSSES
}
CASES["default"] = {}
CASES["without skips"] = {"skips": False}
CASES["ResNet-18"] = {"model": "unet_resnet18"}
CASES["ResNet-18, 3 deformable blocks"] = CASES["ResNet-18"] | {"deformable_blocks": 3}


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the comparison."""

    preset: str = "default"
    """`default`, or `smoke` for a quick look."""
    cases: tuple[str, ...] = tuple(CASES)
    """Which of the cases to run."""
    epochs: int = 3
    """How often each goes through the training images; 9 are `segment.py`'s own."""
    seeds: tuple[int, ...] = (0,)
    """Each case is run with all of them."""
    data_dir: Path | None = None
    """Where prepared data sets live (default: `cnnjax` in the user's cache folder)."""


PRESETS = {
    "default": Config(),
    "smoke": Config(preset="smoke", cases=("without skips",), epochs=1, seeds=(0,)),
}


def main(config: Config) -> dict[str, list[float]]:
    """Prints a table; returns the mean IoU of each case, by seed."""
    for name in config.cases:
        if name not in CASES:
            raise errors.unknown("case", name, CASES)
    table = rich.table.Table("case", "parameters", "M-MACs", "mean IoU", "digits", "s")
    found = {}
    for name in config.cases:
        runs = [run(name, seed, config) for seed in config.seeds]
        found[name] = [results["test_mean_iou"] for results in runs]
        digits = [float(np.nanmean([*r["test_iou"].values()][1:])) for r in runs]
        table.add_row(
            name,
            f"{runs[0]['num_params']:,}",
            f"{macs(name, config) / 1e6:.0f}",
            spread(found[name]),
            spread(digits),
            f"{np.mean([results['seconds'] for results in runs]):.0f}",
        )
    rich.console.Console().print(table)
    return found


def run(name: str, seed: int, config: Config) -> dict[str, Any]:
    """Returns the results of a case."""
    with tempfile.TemporaryDirectory() as folder:
        options = options_of(name, config)
        return segment.main(
            dataclasses.replace(options, seed=seed, run_dir=Path(folder, "run"))
        )


def options_of(name: str, config: Config) -> segment.Config:
    """Returns what a case is trained with."""
    return dataclasses.replace(
        segment.PRESETS[config.preset],
        data_dir=config.data_dir,
        epochs=config.epochs,
        **CASES[name],
    )


def macs(name: str, config: Config) -> int:
    """Returns the multiply-accumulates of a case's network, of one image."""
    options = options_of(name, config)
    model = cnnjax.create(options.model, **options.options())
    return cost.analyze(model, (1, options.image_size, options.image_size, 3)).macs


def spread(values: list[float]) -> str:
    """Returns the mean and, of several values, the deviation."""
    text = f"{np.mean(values):.3f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
