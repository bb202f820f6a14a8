"""Compiles train steps for TPUs that are not here, and predicts how they scale.

    pip install -e ".[tpu-aot]"
    python experiments/aot_tpu.py

Claim: none about a TPU, for none runs. XLA's own compiler says what a chip of a slice
keeps, moves and exchanges in one step, and whether a batch fits; published peaks turn
that into a bound of the speed. `docs/tpu.md` has the formula, the sources and the table
that the script prints.
"""

import dataclasses
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import rich.console
from aot_compile import Job, prepare

import cnnjax
from cnnjax import cli, plots, recipes
from cnnjax.cost import Device
from cnnjax.errors import UserError, unknown


# "Typically around 1us": https://jax-ml.github.io/scaling-book/sharding
HOP_SECONDS = 1e-6
# libtpu compiles in threads, whose stacks are as large as this limit.
SHELL = 'ulimit -s unlimited 2>/dev/null || ulimit -s "$(ulimit -H -s)"; exec "$@"'
# There are no TPUs: nobody has to be asked about them, and none has to be locked.
NO_TPU = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TPU_LOG_DIR": "disabled"}
NO_TPU |= {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the prediction."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""
    recipes: tuple[str, ...] = (
        "imagenet_90_epochs",
        "efficientnet_b0",
        "convnext_tiny",
    )
    """Names from `cnnjax.recipes.PUBLISHED`."""
    topologies: tuple[str, ...] = ("v5e:2x2", "v5e:4x4", "v5e:8x8", "v5e:16x16")
    """Slices to compile every recipe for, as libtpu names them."""
    first_topologies: tuple[str, ...] = ("v5p:2x2x1", "v6e:2x2")
    """Slices to compile the first recipe for, too: each takes minutes."""
    images_per_chip: int = 64
    """Images of a step on each chip."""
    batch_size: int | None = None
    """Images of a step on all chips, whatever their number; replaces the former."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """What the networks compute in."""
    out: Path = Path("runs/aot_tpu")
    """Where the JSON, the table, the plot and the compiled programs go."""


PRESETS = {
    "default": Config(),
    "smoke": Config("smoke", ("he2015_cifar",), ("v5e:2x2",), (), 32),
}


class Step(NamedTuple):
    """How long the parts of a step take at least, in seconds.

    Attributes:
      compute: products at the peak of the chip's arithmetic.
      memory: traffic at the peak of its main memory.
      exchange: all-reduces at the peak of its links.
    """

    compute: float
    memory: float
    exchange: float

    @property
    def exposed(self) -> float:
        """If nothing is computed during an all-reduce."""
        return max(self.compute, self.memory) + self.exchange

    @property
    def hidden(self) -> float:
        """If all-reduces run beside everything else."""
        return max(self)


def predict(
    row: dict[str, Any], device: Device, dtype: str, hop_seconds: float = 0.0
) -> Step:
    """Returns the least times of a compiled step, by published peaks.

    An all-reduce of B bytes on n chips in a ring, or in rings along the sides of the
    slice that share the work, has every chip send 2 (n - 1) / n B bytes. It takes no
    less time than a signal to go around: half the sum of the sides to gather, and as
    much to scatter.

    Args:
      row: "macs", "traffic" and "all_reduces" (bytes of each) of a chip; "sides".
      device: the chip's peaks.
      dtype: of the products.
      hop_seconds: what it takes at least from a chip to its neighbour.
    """
    chips = math.prod(row["sides"])
    share = 2 * (chips - 1) / chips / device.interconnect
    around = sum(row["sides"]) * hop_seconds
    return Step(
        compute=2 * row["macs"] / device.peak_of(dtype),
        memory=row["traffic"] / device.bandwidth,
        exchange=sum(max(around, share * size) for size in row["all_reduces"]),
    )


def start(job: Job, path: Path) -> dict[str, Any]:
    """Compiles in another process; returns what it found, or an "error".

    Args:
      job: what to compile.
      path: where files of the job go, but for their suffixes.
    """
    asked, answer = path.with_suffix(".job.json"), path.with_suffix(".json")
    answer.unlink(missing_ok=True)
    asked.write_text(json.dumps(dataclasses.asdict(job)))
    script = Path(__file__).with_name("aot_compile.py")
    environment = os.environ | NO_TPU
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = ["sh", "-c", SHELL, "sh", sys.executable, script, asked, answer]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    path.with_suffix(".log").write_text(done.stderr)
    if done.returncode or not answer.exists():
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {"error": f"exit status {done.returncode}: {last}"}
    return json.loads(answer.read_text())


def check(config: Config) -> None:
    """Raises a UserError for the first thing that cannot be compiled."""
    if importlib.util.find_spec("libtpu") is None:
        raise UserError('libtpu is not installed: pip install -e ".[tpu-aot]"')
    for name in config.recipes:
        if name not in recipes.PUBLISHED:
            raise unknown("recipe", name, recipes.PUBLISHED)
    if config.images_per_chip < 1:
        raise UserError("--images-per-chip must be positive")
    config.out.mkdir(parents=True, exist_ok=True)
    for name in dict.fromkeys(config.topologies + config.first_topologies):
        if not re.fullmatch(r"\w+:\d+(x\d+)+", name):
            raise UserError(f"unknown topology {name!r}; write it as v5e:2x2")
        if not find_device(name).interconnect:
            raise UserError(f"the bandwidth of the links in {name} is not known")
        chips = math.prod(Job(name).sides)
        images = chips if config.batch_size is None else config.batch_size
        if images < 1 or images % chips:
            raise UserError(f"batch size {images} is not divisible by {chips} chips")
        if error := start(Job(name), config.out / "topology").get("error"):
            raise UserError(f"libtpu knows no topology {name!r}: {error}")


def find_device(topology: str) -> Device:
    """Returns the chip of a slice."""
    return cnnjax.cost.find_device(f"tpu_{topology.partition(':')[0]}")


def measure(name: str, topology: str, config: Config) -> dict[str, Any]:
    """Compiles a recipe for a slice; returns a row of the table."""
    sides = Job(topology).sides
    chips = math.prod(sides)
    images = (config.batch_size or config.images_per_chip * chips) // chips
    _, model, image = prepare(name, config.dtype)
    report = cnnjax.cost.analyze(model, (images, *image), with_gradient=True)
    path = config.out / f"{name}-{topology.replace(':', '-')}"
    program = str(path.with_suffix(".hlo"))
    job = Job(topology, name, config.dtype, images * chips, program)
    row = {
        "recipe": name,
        "model": recipes.PUBLISHED[name].recipe.model,
        "topology": topology,
        "sides": sides,
        "chips": chips,
        "images_per_chip": images,
        "macs": report.macs_in_bounds,
        **start(job, path),
    }
    if "error" in row:
        return row | {"fits": False if "RESOURCE_EXHAUSTED" in row["error"] else None}
    device = find_device(topology)
    step = predict(row, device, config.dtype)
    late = predict(row, device, config.dtype, HOP_SECONDS)
    return row | {
        "fits": True,
        "seconds": step._asdict(),
        "images_per_s": images * chips / step.exposed,
        "images_per_s_overlapped": images * chips / step.hidden,
        "images_per_s_with_hops": images * chips / late.exposed,
    }


def add_efficiency(rows: Sequence[dict[str, Any]]) -> None:
    """Compares each chip's images per second with those of a chip among four."""
    keys = ("images_per_s", "images_per_s_with_hops")
    four = {_curve(row): row for row in rows if row["chips"] == 4 and row["fits"]}
    for row in rows:
        base = four.get(_curve(row))
        if base and row["fits"]:
            row["efficiency"], row["efficiency_with_hops"] = (
                row[key] / row["chips"] / (base[key] / 4) for key in keys
            )


def _by_size(topology: str) -> tuple[str, int]:
    return topology.partition(":")[0], math.prod(Job(topology).sides)


def _curve(row: dict[str, Any]) -> str:
    generation = row["topology"].partition(":")[0]
    return f"{row['model']}, {generation}, {row['images_per_chip']} images per chip"


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "network": lambda row: row["model"],
    "slice": lambda row: row["topology"],
    "chips": lambda row: str(row["chips"]),
    "images per chip": lambda row: str(row["images_per_chip"]),
    "G MACs": lambda row: f"{row['macs'] / 1e9:.0f}",
    "fits": lambda row: {True: "yes", False: "no", None: "?"}[row["fits"]],
    "memory, GB": lambda row: f"{row['memory'] / 1e9:.2f}",
    "traffic, GB": lambda row: f"{row['traffic'] / 1e9:.2f}",
    "all-reduces": lambda row: str(len(row["all_reduces"])),
    "all-reduced, MB": lambda row: f"{sum(row['all_reduces']) / 1e6:.2f}",
    "other exchanges": lambda row: str(len(row["others"])),
    "their MB": lambda row: f"{sum(row['others']) / 1e6:.2f}",
    "compute, ms": lambda row: f"{1e3 * row['seconds']['compute']:.2f}",
    "memory, ms": lambda row: f"{1e3 * row['seconds']['memory']:.2f}",
    "all-reduce, ms": lambda row: f"{1e3 * row['seconds']['exchange']:.2f}",
    "images/s": lambda row: f"{row['images_per_s']:,.0f}",
    "efficiency": lambda row: f"{row['efficiency']:.1%}",
    "overlapped, images/s": lambda row: f"{row['images_per_s_overlapped']:,.0f}",
    "1 µs per hop, images/s": lambda row: f"{row['images_per_s_with_hops']:,.0f}",
    "its efficiency": lambda row: f"{row['efficiency_with_hops']:.1%}",
    "XLA's M cycles": lambda row: f"{row['cycles'] / 1e6:.1f}",
}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the table; of what did not compile it says why below."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    for row in rows:
        cells = []
        for column in COLUMNS.values():
            try:
                cells.append(column(row))
            except KeyError:  # It did not compile, or four chips did not.
                cells.append("")
        lines.append(f"| {' | '.join(cells)} |")
    failed = [row for row in rows if "error" in row]
    lines += ["", *(f"- {r['model']}, {r['topology']}: {r['error']}" for r in failed)]
    return "\n".join(lines).rstrip() + "\n"


def main(config: Config) -> list[dict[str, Any]]:
    """Compiles, prints and writes; returns the table's rows."""
    check(config)
    more = {name: config.first_topologies for name in config.recipes[:1]}
    rows = []
    for name in config.recipes:
        topologies = config.topologies + more.get(name, ())
        for topology in sorted(topologies, key=_by_size):
            rows.append(measure(name, topology, config))
            said = rows[-1].get("error") or f"{rows[-1]['compile_s']:.0f} s of CPU"
            print(f"{name} for {topology}: {said}", flush=True)
    add_efficiency(rows)
    text = markdown(rows)
    (config.out / "aot_tpu.json").write_text(json.dumps(rows, indent=1))
    (config.out / "aot_tpu.md").write_text(text)
    curves: dict[str, list[tuple[int, float, float]]] = {}
    for row in sorted(rows, key=lambda row: row["chips"]):
        if row["fits"]:
            rates = row["images_per_s"], row["images_per_s_with_hops"]
            curves.setdefault(_curve(row), []).append((row["chips"], *rates))
    if curves:
        path = config.out / "tpu_scaling.png"
        plots.scaling(path, "predicted, not measured", curves)
    rich.console.Console(soft_wrap=True).print(text)
    return rows


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
