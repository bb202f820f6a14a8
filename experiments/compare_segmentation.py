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
from typing import Any

import comparison
import numpy as np
import segment

from cnnjax import cli


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
class Config(comparison.ComparisonConfig):
    """Options of the comparison."""

    cases: tuple[str, ...] = tuple(CASES)
    """Which of the cases to run."""
    epochs: int = 3
    """How often each goes through the training images; 9 are `segment.py`'s own."""


PRESETS = {
    "default": Config(),
    "smoke": Config(preset="smoke", cases=("without skips",), epochs=1, seeds=(0,)),
}


def main(config: Config) -> dict[str, list[float]]:
    """Prints a table; returns the mean IoU of each case, by seed."""
    scores = {
        "mean IoU": lambda results: results["test_mean_iou"],
        "digits": lambda results: np.nanmean([*results["test_iou"].values()][1:]),
    }
    return comparison.compare(segment, CASES, config, scores)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
