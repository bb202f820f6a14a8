"""Times whole networks at inference against what else runs them on a CPU.

Claim: specialised by cnnjax they take at most PyTorch's time (eager, channels last), a
sixth of that of Keras on JAX where depthwise convolutions matter, and at most 1.3 times
that of ONNX Runtime. What came of it: `docs/inference.md`.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python experiments/benchmark_models.py

PyTorch, Keras and ONNX Runtime are measured where they are installed (the extras
`torch` and `bench`). All run on all cores, or on the GPU that JAX has. All but Keras
have the same weights; their outputs are compared first. Each contestant has a process
of its own, so that none works in memory that another has left behind; they take turns,
of two runs after one that does not count. A figure is the median over all of them.
"""

import contextlib
import dataclasses
import functools
import json
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import model_contestants as contestants
import numpy as np
import rich.console
import turns
from timing import Run, device, machine

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
# Of the outputs' scale; GPUs round float32 products to 10 bits unless told otherwise.
TOLERANCES = {"float32": 1e-2 if jax.default_backend() == "gpu" else 1e-3}
TOLERANCES["bfloat16"] = 0.1
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
    dtype: str = "float32"
    """What to compute in: `float32`, or `bfloat16` on an accelerator."""
    image_size: int | None = None
    """Side of the images, in pixels (default: the network's own)."""
    rounds: int = 7
    """How many turns each contestant has, at the most."""
    seconds: float = 30.0
    """How long to spend on one network before the turns are cut to three."""
    out: Path = Path("runs/benchmark_models")
    """Where the JSON, the table and the plot go."""
    worker: str = ""
    """What one of the processes is told: the contestant that it is to run."""


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
    if config.worker:
        work(config)
        return {}
    for kind, names, known in (
        ("model", config.models, cnnjax.list_models()),
        ("contestant", config.others, COLUMNS[1:]),
    ):
        for name in names:
            if name not in known:
                raise errors.unknown(kind, name, known)
    console = rich.console.Console(highlight=False, soft_wrap=True)
    document: dict[str, Any] = {"machine": machine(), "rows": []}
    rows = document["rows"]
    config.out.mkdir(parents=True, exist_ok=True)
    for batch_size in config.batch_sizes:
        for name in config.models:
            rows.append(measure(name, batch_size, config))
            times = rows[-1]["ms"]
            figures = ", ".join(f"{key} {value:.1f}" for key, value in times.items())
            console.print(f"{name}, {batch_size} images, ms: {figures}")
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
    """Returns the times of a network, and what its processes told, by contestant."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        processes, told, outputs = {}, {}, {}
        for contestant in ("cnnjax", *config.others):
            out = folder / f"{contestant}.npy"
            options = ["--worker", contestant, "--dtype", config.dtype]
            options += ["--models", name, "--batch-sizes", str(batch_size)]
            options += ["--image-size", str(config.image_size), "--out", str(out)]
            process, answer = stack.enter_context(turns.worker(__file__, *options))
            if answer is not None:
                processes[contestant], told[contestant] = process, answer
                outputs[contestant] = np.load(out)
        expected = outputs["cnnjax"]
        for contestant, output in outputs.items():
            error = np.abs(output - expected).max() / np.abs(expected).max()
            if contestant != "keras" and not error < TOLERANCES[config.dtype]:
                raise RuntimeError(f"{contestant} computes another {name}: {error:.1e}")
        times = turns.interleave(
            processes, runs=2, rounds=config.rounds, seconds=config.seconds
        )
    return {
        "model": name,
        "batch_size": batch_size,
        "dtype": config.dtype,
        "image_size": config.image_size or cnnjax.create(name).image_size,
        "ms": times,
        "first_s": {key: answer["first_s"] for key, answer in told.items()},
        "peak_bytes": {key: answer["peak_bytes"] for key, answer in told.items()},
    }


def work(config: Config) -> None:
    """Runs one contestant, in this process."""

    def tell(output: Any) -> dict[str, float]:
        np.save(config.out, contestants.on_host(output))
        return {"peak_bytes": peak_bytes(config)}

    turns.work(functools.partial(make, config), tell)


def peak_bytes(config: Config) -> float:
    """Returns the most memory that this process has had: a GPU's, if it has one."""
    if jax.default_backend() == "cpu":
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if config.worker.startswith("torch"):
        return contestants.torch.cuda.max_memory_allocated()
    return jax.devices()[0].memory_stats()["peak_bytes_in_use"]


def make(config: Config) -> Run | None:
    """Returns what a process runs; None where the library or the network is missing."""
    (name,), (batch_size,) = config.models, config.batch_sizes
    model = cnnjax.create(name, dtype=jax.numpy.dtype(config.dtype))
    side = config.image_size or model.image_size
    random = np.random.RandomState(0)
    images = random.randn(batch_size, side, side, 3).astype(np.float32)
    if config.worker == "keras":
        return contestants.keras_on_jax(name, images)
    variables = jax.jit(model.init)(jax.random.key(0), images[:1])
    ours: dict[str, Callable[..., Run]] = {
        "cnnjax": contestants.specialised,
        "lax": contestants.with_lax,
    }
    if config.worker in ours:
        return ours[config.worker](model, variables, images)
    network = contestants.torch_network(name, variables, config.dtype)
    theirs: dict[str, Callable[..., Run | None]] = {
        "torch": contestants.eager,
        "torch frozen": contestants.frozen,
        "onnxruntime": contestants.onnx_runtime,
    }
    return None if network is None else theirs[config.worker](network, images)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the table."""
    head = ["network", "batch", *(f"{name}, ms" for name in COLUMNS)]
    head += [f"times {name}'s time" for name in ("torch", "onnxruntime")]
    head += [f"times faster than {name}" for name in ("lax", "keras")]
    head += ["first run, s", "peak memory, MB", "torch's"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        times = {name: row["ms"].get(name, np.nan) for name in COLUMNS}
        ours = times["cnnjax"]
        figures = [
            *(f"{times[name]:.1f}" for name in COLUMNS),
            *(f"{ours / times[name]:.2f}" for name in ("torch", "onnxruntime")),
            *(f"{times[name] / ours:.1f}" for name in ("lax", "keras")),
            f"{row['first_s']['cnnjax']:.1f}",
            *(
                f"{row['peak_bytes'].get(name, np.nan) / 1e6:.0f}"
                for name in ("cnnjax", "torch")
            ),
        ]
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
    names = [row["model"] for row in rows]
    axes.set_xticks(range(len(rows)), names, rotation=20, ha="right")
    axes.set_ylabel("time as a multiple of cnnjax's")
    axes.set_title(f"{device()}, {rows[0]['dtype']}, {rows[0]['batch_size']} images")
    figure.legend(loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
