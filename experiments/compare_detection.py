"""Compares focal loss with cross-entropy, and deformable with plain blocks.

Neither of the two claims, that a RetinaNet learns less without focal loss and that
deformable blocks find more, held on these scenes.

    python experiments/compare_detection.py
    python experiments/compare_detection.py --cases focal cross-entropy --seeds 0 1 2

Each case is a run of `detect.py` with other options, some minutes on two cores. The
table, and what may be why: `docs/detection.md`.
"""

import dataclasses
from typing import Any

import comparison
import detect

from cnnjax import cli


FASTER = {"model": "fasterrcnn_resnet18_fpn_small"}
CASES: dict[str, dict[str, Any]] = {
    "focal": {},
    "cross-entropy": {"loss": "cross_entropy"},
    "focal, 3 deformable blocks": {"deformable_blocks": 3},
    "Faster R-CNN": FASTER,
    "Faster R-CNN, 3 deformable blocks": FASTER | {"deformable_blocks": 3},
}


@dataclasses.dataclass(frozen=True)
class Config(comparison.ComparisonConfig):
    """Options of the comparison."""

    cases: tuple[str, ...] = tuple(CASES)
    """Which of the cases to run."""
    epochs: int = 6
    """How often each goes through the training images; 12 are `detect.py`'s own."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each case is run with all of them."""


PRESETS = {
    "default": Config(),
    "smoke": Config(preset="smoke", cases=("cross-entropy",), epochs=1, seeds=(0,)),
}


def main(config: Config) -> dict[str, list[float]]:
    """Prints a table; returns the mAP at an IoU of 0.5 of each case, by seed."""
    scores = {
        "mAP at 0.5": lambda results: results["test_map50"],
        "COCO's AP": lambda results: results["test_coco"]["ap"],
    }
    return comparison.compare(detect, CASES, config, scores)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
