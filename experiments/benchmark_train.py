"""Times whole training steps against XLA's own convolutions and PyTorch's.

Claim: on a CPU, a step (forward, backward, SGD with momentum; float32, BatchNorm in
training) takes at most 1.2 times PyTorch's time for ResNet-20 and ResNet-50 and 1.5
times for MobileNetV2 and ConvNeXt-T; the last two train 5 times faster than with
`jax.lax`'s convolution. Images are read and augmented 3 times as fast as ResNet-20
takes them. What came of it: `docs/benchmark_train.md` (1.2, 0.8, 0.9 and 0.9 times;
14.4 and 5.6 times; 5.5 times).

    python experiments/benchmark_train.py

PyTorch (channels last, torchvision's networks) is measured, too, where it is installed:
the extra `torch`. All start from the same parameters and see the same batch, and none
has dropout or stochastic depth. Each contestant has a process of its own; they take
turns, of one step (ResNet-20: ten) after one that does not count. A figure is the
median over all of them.
"""

import contextlib
import dataclasses
import functools
import importlib
import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import classify
import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich.console
import turns
from timing import Run, device, machine

import cnnjax
from cnnjax import cli, data, errors, train


class Case(NamedTuple):
    """A network to train, what is claimed of it, and how many steps a turn has."""

    batch_size: int
    num_classes: int
    most_of_torch: float
    least_of_lax: float = np.nan
    options: dict[str, Any] = {}  # noqa: RUF012
    steps: int = 1


CASES = {
    "resnet20_cifar": Case(32, 10, 1.2, steps=10),
    "resnet50": Case(8, 1000, 1.2),
    "mobilenet_v2": Case(8, 1000, 1.5, 5, {"dropout_rate": 0.0}),
    "convnext_tiny": Case(8, 1000, 1.5, 5, {"drop_path_rate": 0.0}),
}
COLUMNS = ("cnnjax", "lax", "torch")
PIPELINE_TARGET = 3
LEARNING_RATE, MOMENTUM = 0.01, 0.9
OPTIMIZER = optax.sgd(LEARNING_RATE, MOMENTUM)


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    preset: str = "default"
    """`default`, or `smoke` for a quick look."""
    models: tuple[str, ...] = tuple(CASES)
    """What to train."""
    image_size: int | None = None
    """Side of all images, in pixels; only to try the script out."""
    batch_size: int | None = None
    """Images in all batches; only to try the script out."""
    rounds: int = 9
    """How often to time each contestant, at the most."""
    seconds: float = 120.0
    """How long to spend on one network before its rounds are cut to three."""
    pipeline_batches: int = 100
    """How many batches to read and augment in a round."""
    data_dir: Path | None = None
    """Where prepared data sets live (default: `cnnjax` in the user's cache folder)."""
    out: Path = Path("runs/benchmark_train")
    """Where the JSON, the table and the plot go."""
    worker: str = ""
    """What one of the processes is told: the contestant that it is to run."""


PRESETS = {
    "default": Config(),
    "smoke": Config(
        preset="smoke",
        models=("resnet20_cifar",),
        image_size=8,
        batch_size=4,
        rounds=2,
        pipeline_batches=5,
    ),
}


def main(config: Config) -> dict[str, Any]:
    """Times, prints and writes; returns what the JSON file holds."""
    if config.worker:
        turns.work(functools.partial(make, config), lambda loss: {"loss": float(loss)})
        return {}
    rows = []
    for name in config.models:
        if name not in CASES:
            raise errors.unknown("model", name, CASES)
        rows.append(measure(name, config))
        times = rows[-1]["step_ms"].items()
        print(name, *(f"{other} {time:.1f} ms" for other, time in times), flush=True)
    document = {"machine": machine(), "rows": rows, "pipeline": pipeline(config)}
    text = markdown(document)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "benchmark_train.json").write_text(json.dumps(document, indent=1))
    (config.out / "benchmark_train.md").write_text(text)
    draw(rows, config.out / "benchmark_train.png")
    rich.console.Console(soft_wrap=True).print(text)
    return document


def measure(name: str, config: Config) -> dict[str, Any]:
    """Times the steps of one network."""
    with contextlib.ExitStack() as stack:
        processes, told = {}, {}
        for contestant in COLUMNS:
            options = ["--worker", contestant, "--models", name]
            options += ["--image-size", str(config.image_size)]
            options += ["--batch-size", str(config.batch_size)]
            process, answer = stack.enter_context(turns.worker(__file__, *options))
            if answer is not None:
                processes[contestant], told[contestant] = process, answer
        times = turns.interleave(
            processes,
            runs=CASES[name].steps,
            rounds=config.rounds,
            seconds=config.seconds,
        )
    return {
        "model": name,
        "image_size": config.image_size or cnnjax.create(name).image_size,
        "batch_size": config.batch_size or CASES[name].batch_size,
        "first_loss": {key: answer["loss"] for key, answer in told.items()},
        "first_step_s": {key: answer["first_s"] for key, answer in told.items()},
        "step_ms": times,
    }


def make(config: Config) -> Run | None:
    """Returns what a process runs; None where PyTorch is missing."""
    (name,) = config.models
    case = CASES[name]
    model = cnnjax.create(name, num_classes=case.num_classes, **case.options)
    side = config.image_size or model.image_size
    shape = (config.batch_size or case.batch_size, side, side, 3)
    batch = make_batch(shape, case.num_classes)
    state = initial_state(model, batch)
    if config.worker == "torch":
        if not (find_spec("torch") and find_spec("torchvision")):
            return None
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        weights = cnnjax.weights.to_torch(name, variables)
        theirs = importlib.import_module("torch_contestants")
        return theirs.step_of(
            name, weights, batch, learning_rate=LEARNING_RATE, momentum=MOMENTUM
        )
    if config.worker == "lax":
        model = model.clone(conv_general_dilated=jax.lax.conv_general_dilated)
    return step_of(model, state, batch)


def make_batch(shape: tuple[int, ...], num_classes: int) -> dict[str, np.ndarray]:
    """Returns noise of a shape [n, h, w, c], and classes [n]."""
    random = np.random.RandomState(0)
    images = random.randn(*shape).astype(np.float32)
    return {"image": images, "label": random.randint(num_classes, size=shape[0])}


def initial_state(model: Any, batch: dict[str, np.ndarray]) -> train.TrainState:
    """Returns the state in which all contestants start."""
    init = functools.partial(
        train.init_state, model, optax.sgd(LEARNING_RATE, MOMENTUM)
    )
    return jax.jit(init)(jax.random.key(0), batch["image"])


def step_of(model: Any, state: train.TrainState, batch: dict[str, np.ndarray]) -> Run:
    """Returns a function that does one update and returns the loss before it."""
    step = jax.jit(
        functools.partial(train.train_step, model, OPTIMIZER),
        donate_argnums=0,
    )
    state = jax.tree.map(jnp.copy, state)
    batch, key = jax.device_put(batch), jax.random.key(1)

    def run():
        nonlocal state
        state, metrics = jax.block_until_ready(step(state, batch, key))
        return metrics["loss"]

    return run


def pipeline(config: Config) -> dict[str, float]:
    """Returns images per second read, and trained on, as `classify.py` does it.

    They are measured in turns, one at a time.
    """
    settings = classify.PRESETS["default"]
    side = config.image_size or settings.image_size
    batch_size = config.batch_size or settings.batch_size
    source = data.load(settings.dataset, settings.train_split, config.data_dir)
    model = cnnjax.create(settings.model, num_classes=len(source.class_names))
    batch = make_batch((batch_size, side, side, source.image_shape[-1]), 10)
    step = step_of(model, initial_state(model, batch), batch)
    on_bytes, on_floats = settings.augmentation()
    read, trained = [], []
    for i in range(config.rounds):
        batches = data.train_batches(
            source,
            batch_size=batch_size,
            image_size=side,
            seed=i,
            augment=on_floats,
            augment_bytes=on_bytes,
        )
        next_batch = functools.partial(next, batches)
        # An epoch first: then all images are decoded, and none is waiting.
        repeat(next_batch, len(source) // batch_size)
        read.append(batch_size * repeat(next_batch, config.pipeline_batches))
        batches.close()
        step()
        trained.append(batch_size * repeat(step, config.pipeline_batches // 5))
    return {
        "image_size": side,
        "batch_size": batch_size,
        "read_per_s": float(np.median(read)),
        "trained_per_s": float(np.median(trained)),
    }


def repeat(run: Run, count: int) -> float:
    """Returns how often per second something ran."""
    began = time.perf_counter()
    for _ in range(count):
        run()
    return count / (time.perf_counter() - began)


def markdown(document: dict[str, Any]) -> str:
    """Returns the table, and what is to be said of the pipeline."""
    head = ["network", "pixels", "batch", *(f"{name}, ms" for name in COLUMNS)]
    head += ["times PyTorch's time", "target", "times faster than lax", "target"]
    head += [f"start and first step of {name}, s" for name in COLUMNS]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in document["rows"]:
        case, times = CASES[row["model"]], row["step_ms"]
        figures = [
            *(f"{times.get(name, np.nan):.1f}" for name in COLUMNS),
            f"{times['cnnjax'] / times.get('torch', np.nan):.2f}",
            f"{case.most_of_torch:.1f}",
            f"{times['lax'] / times['cnnjax']:.2f}",
            f"{case.least_of_lax:.1f}",
            *(f"{row['first_step_s'].get(name, np.nan):.1f}" for name in COLUMNS),
        ]
        cells = [row["model"], str(row["image_size"]), str(row["batch_size"])]
        cells += ["" if figure == "nan" else figure for figure in figures]
        lines.append(f"| {' | '.join(cells)} |")
    found = document["pipeline"]
    side, batch_size = found["image_size"], found["batch_size"]
    rate, needed = found["read_per_s"], found["trained_per_s"]
    return "\n".join(lines) + (
        f"\n\nThe digits are read and augmented at {rate:.0f} images per second; "
        f"ResNet-20 trains on {needed:.0f} ({side} pixels, batches of {batch_size}). "
        f"That is {rate / needed:.1f} times as many (target: {PIPELINE_TARGET}).\n"
    )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws the times of a step as bars."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for i, name in enumerate(COLUMNS):
        times = [row["step_ms"].get(name, np.nan) for row in rows]
        if not np.all(np.isnan(times)):
            places = np.arange(len(rows)) + (i - 1) * 0.27
            bars = axes.bar(places, times, width=0.25, label=name)
            axes.bar_label(bars, fmt="%.0f")
    axes.set_yscale("log")
    axes.set_xticks(range(len(rows)), [row["model"] for row in rows])
    axes.set_ylabel("ms per training step")
    axes.set_title(f"{device()}, float32")
    axes.legend()
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
