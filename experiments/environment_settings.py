"""What settings of the environment do to the time of a training step.

Claim: none yet; it measures whether telling glibc to keep large blocks, or XLA to call
other libraries, makes steps faster. Nothing here is set behind the user's back.

    python experiments/environment_settings.py

Each setting has processes of its own, which take turns; a figure is the median over
all their steps, as a share of that without settings.
"""

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

import benchmark_train
import numpy as np
import rich.console
import rich.table
from timing import clock

import cnnjax
from cnnjax import cli, errors


# Large blocks are mapped anew at each call, and the system clears their pages. Up to
# these sizes they are kept, if all threads share one arena: those of others hold 64 MB.
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**40)}
KEPT |= {"MALLOC_ARENA_MAX": "1"}
SETTINGS: dict[str, dict[str, str]] = {
    "none": {},
    "glibc keeps large blocks": KEPT,
    "glibc asks for huge pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "both": KEPT | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "XLA calls oneDNN": {"XLA_FLAGS": "--xla_cpu_use_onednn=true"},
    "XLA with 512-bit vectors": {"XLA_FLAGS": "--xla_cpu_prefer_vector_width=512"},
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the comparison."""

    preset: str = "default"
    """`default`, or `smoke` for a quick look."""
    models: tuple[str, ...] = ("resnet20_cifar", "mobilenet_v2")
    """What to train, at the sizes of `benchmark_train.py`."""
    settings: tuple[str, ...] = tuple(SETTINGS)
    """Which settings to try."""
    turns: int = 3
    """How many processes each setting has."""
    rounds: int = 5
    """Steps in each of them."""
    image_size: int | None = None
    """Side of all images, in pixels; only to try the script out."""
    worker: str = ""
    """A network to time in this process, as JSON; what the processes are told."""


PRESETS = {
    "default": Config(),
    "smoke": Config(
        preset="smoke",
        models=("resnet20_cifar",),
        settings=("none", "both"),
        turns=1,
        rounds=2,
        image_size=8,
    ),
}


def main(config: Config) -> dict[str, dict[str, float]]:
    """Prints and returns the medians in milliseconds, by network and setting."""
    if config.worker:
        print(json.dumps(step_time(config.worker, config)))
        return {}
    for kind, names, known in (
        ("model", config.models, benchmark_train.CASES),
        ("setting", config.settings, SETTINGS),
    ):
        for name in names:
            if name not in known:
                raise errors.unknown(kind, name, known)
    medians = {name: measure(name, config) for name in config.models}
    table = rich.table.Table("setting", *config.models)
    for setting in config.settings:
        shares = [
            f"{times[setting] / times[config.settings[0]]:.2f}"
            for times in medians.values()
        ]
        table.add_row(setting, *shares)
    rich.console.Console().print(table)
    for setting in config.settings:
        values = " ".join(f"{key}={value}" for key, value in SETTINGS[setting].items())
        print(f"{setting}: {values or '-'}")
    return medians


def measure(name: str, config: Config) -> dict[str, float]:
    """Returns the median time of a step under each setting."""
    times: dict[str, list[float]] = {setting: [] for setting in config.settings}
    command = [sys.executable, __file__, "--worker", name]
    command += ["--preset", config.preset, "--rounds", str(config.rounds)]
    command += ["--image-size", str(config.image_size)]
    for _ in range(config.turns):
        for setting, found in times.items():
            done = subprocess.run(
                command,
                env=os.environ | SETTINGS[setting],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return {setting: float(np.median(found)) for setting, found in times.items()}


def step_time(name: str, config: Config) -> Any:
    """Returns the median time of a step in this process, in milliseconds."""
    case = benchmark_train.CASES[name]
    model = cnnjax.create(name, num_classes=case.num_classes, **case.options)
    side = config.image_size or model.image_size
    batch = benchmark_train.make_batch((case.batch_size, side, side, 3), 10)
    state = benchmark_train.initial_state(model, batch)
    run = benchmark_train.step_of(model, state, batch)
    return clock({name: run}, rounds=config.rounds, seconds=60.0)[name]


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
