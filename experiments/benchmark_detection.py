"""Times the operations of detectors against torchvision's.

Claim: keeping 300 of 100,000 boxes takes at most three times as long as in torchvision,
although everything has static shapes.

    python experiments/benchmark_detection.py

torchvision is measured where it is installed: the extra `bench`. It finds all boxes
that stay, and the first 300 are cut off. Figures: `docs/benchmark_detection.md`.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
import rich.console
from timing import Run, clock, device, torch, torch_device

from cnnjax import cli, ops


torchvision: Any = (
    importlib.import_module("torchvision") if find_spec("torchvision") else None
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    preset: str = "default"
    """`default`, or `smoke` for a quick look."""
    boxes: int = 100_000
    """How many there are."""
    kept: int = 300
    """How many of them can stay."""
    regions: int = 512
    """How many regions are pooled, of two maps of 256 channels."""
    map_size: int = 50
    """Rows and columns of the maps."""
    rounds: int = 15
    """How often to time each contestant, at the most."""
    seconds: float = 20.0
    """How long to spend on one measurement before its rounds are cut to three."""


PRESETS = {
    "default": Config(),
    "smoke": Config(preset="smoke", boxes=500, kept=9, regions=3, map_size=6, rounds=1),
}


def main(config: Config) -> dict[str, dict[str, float]]:
    """Times and prints; returns the milliseconds by operation and contestant."""
    timed = {}
    lines = [f"On {device()}.", "", "| operation | cnnjax, ms | torchvision, ms |"]
    lines.append("| --- | --- | --- |")
    for name, contestants in operations(config).items():
        times = clock(contestants, rounds=config.rounds, seconds=config.seconds)
        timed[name] = times
        theirs = times.get("torchvision", np.nan)
        lines.append(f"| {name} | {times['cnnjax']:.1f} | {theirs:.1f} |")
    rich.console.Console(soft_wrap=True).print("\n".join(lines))
    return timed


def operations(config: Config) -> dict[str, dict[str, Run]]:
    """Returns by name what computes the same, by contestant."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=config.boxes).astype(np.float32)
    classes = rng.integers(0, 80, config.boxes)
    found = {}
    for kind, spread in (("apart", 4000.0), ("in heaps", 300.0)):
        corner = rng.uniform(0, spread, (config.boxes, 2))
        boxes = np.hstack([corner, corner + rng.uniform(8, 100, corner.shape)])
        boxes = boxes.astype(np.float32)
        found[f"NMS, {config.boxes:,} boxes {kind}"] = contest(
            lambda b, s: ops.nms(b, s, 0.5, config.kept),
            lambda v, b, s: v.nms(b, s, 0.5)[: config.kept],
            boxes,
            scores,
        )
        found[f"NMS by class, {config.boxes:,} boxes {kind}"] = contest(
            lambda b, s, c: ops.batched_nms(b, s, c, 0.5, config.kept),
            lambda v, b, s, c: v.batched_nms(b, s, c, 0.5)[: config.kept],
            boxes,
            scores,
            classes,
        )
    side = config.map_size
    maps = rng.normal(size=(2, side, side, 256)).astype(np.float32)
    corner = rng.uniform(0, 8 * side, (config.regions, 2))
    boxes = np.hstack([corner, corner + rng.uniform(20, 8 * side, corner.shape)])
    image = rng.integers(0, 2, (config.regions, 1))
    rois = np.hstack([image, boxes]).astype(np.float32)
    for pool, more in (("roi_align", (2, True)), ("roi_pool", ())):
        found[f"{pool}, {config.regions} regions"] = contest(
            functools.partial(pooled, pool, more, ops),
            functools.partial(pooled, pool, more),
            maps,
            rois,
        )
    return found


def pooled(name: str, more: tuple, library: Any, x: Any, rois: Any) -> Any:
    """Pools regions to 7 x 7 bins, from maps of a sixteenth of the image's size."""
    return getattr(library, name)(x, rois, 7, 1 / 16, *more)


def contest(ours: Callable, theirs: Callable, *arrays: np.ndarray) -> dict[str, Run]:
    """Returns both functions, applied to arrays on their devices, maps to NCHW ones."""
    runs = {"cnnjax": functools.partial(jax.jit(ours), *jax.device_put(arrays))}
    if torchvision is not None:
        placed = [
            torch.as_tensor(a, device=torch_device())
            for a in (np.moveaxis(a, 3, 1).copy() if a.ndim == 4 else a for a in arrays)
        ]
        runs["torchvision"] = functools.partial(theirs, torchvision.ops, *placed)
    return runs


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
