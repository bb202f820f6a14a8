"""Times whole networks at inference against what else runs them on a CPU.

Claim: specialised by cnnjax they take at most PyTorch's time (eager, channels last), a
sixth of that of Keras on JAX where depthwise convolutions matter, and at most 1.3 times
that of ONNX Runtime. What came of it: `docs/inference.md`.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python experiments/benchmark_models.py

PyTorch, Keras and ONNX Runtime are measured where they are installed (the extras
`torch` and `bench`). All run float32 on all cores and, but for Keras, have the same
weights; their outputs are compared first. Each round runs every contestant once; a
figure is the median over the rounds.
"""

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import jax
import model_contestants as contestants
import numpy as np
import rich.console
from timing import clock, machine

import cnnjax
from cnnjax import cli, errors


MODELS = (
    "resnet50",
    "mobilenet_v2",
    "efficientnet_b0",
    "convnext_tiny",
    "densenet121",
    "shufflenet_v2_x1_0",
    "vgg16",
    "resnet18",
    "squeezenet1_1",
    "mobilenet_v1",
    "shufflenet_v1_g3",
)
COLUMNS = ("cnnjax", "lax", "keras", "torch", "torch frozen", "onnxruntime")


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    preset: str = "default"
    """`default`; `quick` for three networks against `lax` alone; or `smoke`."""
    models: tuple[str, ...] = MODELS
    """What to run."""
    batch_sizes: tuple[int, ...] = (8, 1, 32)
    """Images at a time."""
    others: tuple[str, ...] = COLUMNS[1:]
    """Whom to compare with."""
    image_size: int | None = None
    """Side of the images, in pixels (default: the network's own)."""
    rounds: int = 9
    """How often to time each contestant, at the most."""
    seconds: float = 40.0
    """How long to spend on one measurement before its rounds are cut to three."""
    out: Path = Path("runs/benchmark_models")
    """Where the JSON, the table and the plot go."""


QUICK = Config(
    preset="quick",
    models=("mobilenet_v2", "efficientnet_b0", "resnet18"),
    batch_sizes=(8,),
    others=("lax",),
    rounds=5,
    seconds=20.0,
    out=Path("runs/benchmark_models_quick"),
)
PRESETS = {
    "default": Config(),
    "quick": QUICK,
    "smoke": dataclasses.replace(
        QUICK,
        preset="smoke",
        models=("squeezenet1_1",),
        batch_sizes=(1,),
        image_size=32,
        rounds=2,
        out=Path("runs/benchmark_models_smoke"),
    ),
}


def main(config: Config) -> dict[str, Any]:
    """Measures, prints and writes everything; returns what the JSON holds."""
    for kind, names, known in (
        ("model", config.models, cnnjax.list_models()),
        ("contestant", config.others, COLUMNS[1:]),
    ):
        for name in names:
            if name not in known:
                raise errors.unknown(kind, name, known)
    console = rich.console.Console(highlight=False, soft_wrap=True)
    rows = []
    config.out.mkdir(parents=True, exist_ok=True)
    for batch_size in config.batch_sizes:
        for name in config.models:
            rows.append(measure(name, batch_size, config))
            times = rows[-1]["ms"]
            figures = ", ".join(f"{key} {value:.1f}" for key, value in times.items())
            console.print(f"{name}, {batch_size} images, ms: {figures}")
            document = {"machine": machine(), "rows": rows}
            # After each, since all of them take a while.
            (config.out / "benchmark_models.json").write_text(
                json.dumps(document, indent=1) + "\n"
            )
    table = markdown(rows)
    (config.out / "benchmark_models.md").write_text(table)
    draw(rows, config.out / "benchmark_models.png")
    console.print(table)
    return document


def measure(name: str, batch_size: int, config: Config) -> dict[str, Any]:
    """Returns the times of a network by contestant, and of their first runs."""
    model = cnnjax.create(name)
    side = config.image_size or model.image_size
    random = np.random.RandomState(0)
    images = random.randn(batch_size, side, side, 3).astype(np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images[:1])
    partial = functools.partial
    makers = {
        "cnnjax": partial(contestants.specialised, model, variables, images),
        "lax": partial(contestants.with_lax, model, variables, images),
        "keras": partial(contestants.keras_on_jax, name, images),
    }
    network = None
    if {*COLUMNS[3:]} & {*config.others}:
        network = contestants.torch_network(name, variables)
    if network is not None:
        makers["torch"] = partial(contestants.eager, network, images)
        makers["torch frozen"] = partial(contestants.frozen, network, images)
        makers["onnxruntime"] = partial(contestants.onnx_runtime, network, images)
    runs, first = {}, {}
    for contestant, make in makers.items():
        if contestant == "cnnjax" or contestant in config.others:
            run, first[contestant] = contestants.first_run(make)
            if run is not None:
                runs[contestant] = run
    expected = np.asarray(runs["cnnjax"]())
    for contestant, run in runs.items():
        error = np.abs(np.asarray(run()) - expected).max() / np.abs(expected).max()
        if contestant != "keras" and not error < 1e-3:
            raise RuntimeError(f"{contestant} computes another {name}: {error:.1e}")
    return {
        "model": name,
        "batch_size": batch_size,
        "image_size": side,
        "ms": clock(runs, rounds=config.rounds, seconds=config.seconds),
        "first_s": {key: first[key] for key in runs},
        "temporary_bytes": temporary_bytes(model, variables, images),
    }


def temporary_bytes(model: Any, variables: Any, images: np.ndarray) -> dict[str, int]:
    """Returns what XLA allocates beside weights and images, by contestant."""
    fast = cnnjax.inference.specialise(model, variables, images.shape)
    lax = model.clone(conv_general_dilated=jax.lax.conv_general_dilated)
    call = jax.jit(lambda variables, images: lax.apply(variables, images)[0])
    analysis = call.lower(variables, images).compile().memory_analysis()
    return {
        "cnnjax": fast.temporary_bytes,
        "lax": analysis.temp_size_in_bytes,
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the table."""
    head = ["network", "batch", *(f"{name}, ms" for name in COLUMNS)]
    head += [f"times {name}'s time" for name in ("torch", "onnxruntime")]
    head += [f"times faster than {name}" for name in ("lax", "keras")]
    head += ["first run, s", "temporary arrays, MB (lax)"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        times = {name: row["ms"].get(name, np.nan) for name in COLUMNS}
        ours = times["cnnjax"]
        figures = [
            *(f"{times[name]:.1f}" for name in COLUMNS),
            *(f"{ours / times[name]:.2f}" for name in ("torch", "onnxruntime")),
            *(f"{times[name] / ours:.1f}" for name in ("lax", "keras")),
            f"{row['first_s']['cnnjax']:.1f}",
        ]
        megabytes = {key: n / 1e6 for key, n in row["temporary_bytes"].items()}
        figures.append(f"{megabytes['cnnjax']:.0f} ({megabytes['lax']:.0f})")
        cells = ["" if figure == "nan" else figure for figure in figures]
        lines.append(f"| {row['model']} | {row['batch_size']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws how many times cnnjax's time the others take, for the first batch size."""
    import matplotlib.pyplot as plt

    rows = [row for row in rows if row["batch_size"] == rows[0]["batch_size"]]
    figure, axes = plt.subplots(figsize=(10, 4.5), layout="constrained")
    for i, name in enumerate(COLUMNS[1:]):
        times = [row["ms"].get(name, np.nan) / row["ms"]["cnnjax"] for row in rows]
        if not np.all(np.isnan(times)):
            places = np.arange(len(rows)) + (i - 2) * 0.17
            axes.bar(places, times, width=0.15, label=name)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(range(len(rows)), [row["model"] for row in rows], rotation=20)
    axes.set_ylabel("time as a multiple of cnnjax's")
    axes.set_title(
        f"{machine()['cpu']}, {os.cpu_count()} cores, float32, "
        f"{rows[0]['batch_size']} images"
    )
    axes.legend(ncols=5)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
