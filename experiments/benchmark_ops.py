"""Times the convolutions of twelve networks against XLA's own and PyTorch's.

Claim: on CPUs, `cnnjax.ops` is faster than `jax.lax` in every class of convolutions,
and never slower on any by more than the noise. The table is in `docs/benchmark_ops.md`.

    python experiments/benchmark_ops.py

PyTorch (channels-last) is measured, too, where it is installed: the extra `bench`.
Each round runs every contestant once; a figure is the median over the rounds, and the
table's the median over the shapes of a class.
"""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import rich.console
from conv_shapes import NETWORKS, Shape
from op_contestants import contestants, make_arrays
from timing import clock, device, machine

from cnnjax import cli


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    preset: str = "default"
    """`default`, or `smoke` for a quick look."""
    networks: tuple[str, ...] = tuple(NETWORKS)
    """Whose convolutions to time."""
    batch_sizes: tuple[int, ...] = (8, 1)
    """Images at a time."""
    every: int = 1
    """Times every n-th shape only."""
    rounds: int = 7
    """How often to time each contestant, at the most."""
    seconds: float = 6.0
    """How long to spend on one measurement before its rounds are cut to three."""
    dtype: str = "float32"
    """`float32` or `bfloat16`."""
    calls: int = 1
    """How many calls to dispatch at a time; 20 on a GPU."""
    scale: float = 1.0
    """Factor on the sizes of the images; below 1 only to try the script out."""
    out: Path = Path("runs/benchmark_ops")
    """Where the JSON, the table and the plot go."""


PRESETS = {
    "default": Config(),
    "smoke": Config(
        preset="smoke",
        networks=("mobilenet_v1",),
        batch_sizes=(1,),
        every=9,
        rounds=1,
        scale=0.1,
    ),
}


def main(config: Config) -> list[dict[str, Any]]:
    """Times, prints and writes; returns one row per shape and batch size."""
    shapes = dict.fromkeys(s for name in config.networks for s in NETWORKS[name]())
    rows = []
    for batch_size in config.batch_sizes:
        for shape in list(shapes)[:: config.every]:
            size = max(1, round(shape.size * config.scale))
            shape = dataclasses.replace(shape, size=size)
            rows.append(measure(shape, batch_size, config))
            print(row_text(rows[-1]), flush=True)
    config.out.mkdir(parents=True, exist_ok=True)
    peak = matmul_gflops(config)
    document = {"machine": machine() | {"matmul_gflops": peak}, "rows": rows}
    (config.out / "benchmark_ops.json").write_text(json.dumps(document, indent=1))
    (config.out / "benchmark_ops.md").write_text(markdown(rows, peak))
    draw(rows, config.out / "benchmark_ops.png", config.dtype)
    rich.console.Console(soft_wrap=True).print(markdown(rows, peak))
    return rows


def measure(shape: Shape, batch_size: int, config: Config) -> dict[str, Any]:
    """Times one operation, forward and with its gradients."""
    forward, both = contestants(shape, make_arrays(shape, batch_size, config.dtype))
    timed = functools.partial(
        clock, rounds=config.rounds, seconds=config.seconds, calls=config.calls
    )
    return {
        "shape": str(shape),
        "kind": shape.kind,
        "batch_size": batch_size,
        "macs": batch_size * shape.macs,
        "forward_ms": timed(forward),
        "forward_backward_ms": timed(both),
    }


def matmul_gflops(config: Config) -> float:
    """Returns the rate of a large matrix product, which bounds the others."""
    side = 2048 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(0), (side, side), config.dtype)
    run = functools.partial(jax.jit(jax.numpy.matmul), a, a)
    times = clock(
        {"matmul": run},
        rounds=config.rounds,
        seconds=config.seconds,
        calls=config.calls,
    )
    return 2e-6 * a.shape[0] ** 3 / times["matmul"]


def ratio(row: dict[str, Any], what: str, other: str, one: str) -> float:
    """Returns the other's time over the one's, or NaN where one was not measured."""
    return row[what].get(other, np.nan) / row[what].get(one, np.nan)


COLUMNS = {
    "forward, times faster than lax": ("forward_ms", "lax", "cnnjax"),
    "fwd + bwd, times faster than lax": ("forward_backward_ms", "lax", "cnnjax"),
    "forward, times PyTorch's time": ("forward_ms", "cnnjax", "torch"),
    "fwd + bwd, times PyTorch's time": ("forward_backward_ms", "cnnjax", "torch"),
}


def row_text(row: dict[str, Any]) -> str:
    """Returns a line about one shape: the ratios, then the milliseconds."""
    ratios = " ".join(f"{ratio(row, *column):6.2f}" for column in COLUMNS.values())
    times = [*row["forward_ms"].values(), *row["forward_backward_ms"].values()]
    numbers = " ".join(f"{t:8.2f}" for t in times)
    return f"{row['batch_size']} {row['shape']:45} {ratios} | {numbers}"


def markdown(rows: list[dict[str, Any]], peak: float) -> str:
    """Returns the table of the medians over each class's shapes, and its exceptions."""
    last = ["slowest against lax", f"forward, share of {peak:.0f} GFLOP/s"]
    head = ["class", "batch", "shapes", *COLUMNS, *last]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for kind, batch_size in sorted({(r["kind"], r["batch_size"]) for r in rows}):
        some = [r for r in rows if (r["kind"], r["batch_size"]) == (kind, batch_size)]
        cells = [kind, str(batch_size), str(len(some))]
        for column in COLUMNS.values():
            median = np.median([ratio(row, *column) for row in some])
            cells.append("" if np.isnan(median) else f"{median:.2f}")
        against_lax = [c for c in COLUMNS.values() if c[1] == "lax"]
        worst = min(ratio(row, *column) for row in some for column in against_lax)
        rates = [2e-6 * row["macs"] / row["forward_ms"]["cnnjax"] for row in some]
        cells += [f"{worst:.2f}", f"{np.median(rates) / peak:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + exceptions(rows)


NOISY_MS = 0.2  # Below it the clock scatters by a third.


def exceptions(rows: list[dict[str, Any]]) -> str:
    """Returns what is to be said of the shapes on which lax is faster."""
    names = {"forward": COLUMNS["forward, times faster than lax"]}
    names |= {"fwd + bwd": COLUMNS["fwd + bwd, times faster than lax"]}
    figures = [
        (ratio(row, *column), name, row, row[column[0]]["lax"])
        for row in rows
        for name, column in names.items()
    ]
    below = [figure for figure in figures if figure[0] < 1]
    slower = [figure for figure in below if figure[0] < 0.95]
    worth = sorted((f for f in slower if f[3] > NOISY_MS), key=lambda f: f[0])
    text = (
        '"Slowest against lax" is the single worst shape and direction. Of '
        f"{len(figures)} figures against lax {len(below)} are below 1: "
        f"{sum(f[1] == 'forward' for f in below)} forward and "
        f"{sum(f[1] != 'forward' for f in below)} with gradients. {len(slower)} are "
        f"below 0.95; {len(slower) - len(worth)} of these where lax takes at most "
        f"{NOISY_MS} ms, and the clock scatters by a third, {len(worth)} where it "
        f"takes longer{':' if worth else '.'}\n"
    )
    for value, name, row, milliseconds in worth:
        text += (
            f"\n- {value:.2f}: {row['shape']}, batch {row['batch_size']}, {name}, "
            f"{milliseconds:.1f} ms by lax"
        )
    return text


def draw(rows: list[dict[str, Any]], path: Path, dtype: str) -> None:
    """Draws how many times faster than lax each shape is, by class."""
    import matplotlib.pyplot as plt

    kinds = sorted({row["kind"] for row in rows})
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for offset, name in ((-0.15, "forward"), (0.15, "fwd + bwd")):
        column = COLUMNS[f"{name}, times faster than lax"]
        points = [(kinds.index(row["kind"]), ratio(row, *column)) for row in rows]
        places, ratios = np.array(points).T
        axes.plot(places + offset, ratios, ".", alpha=0.5, label=name)
    axes.axhline(1, color="grey", linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(range(len(kinds)), kinds, rotation=20, ha="right")
    axes.set_ylabel("times faster than lax")
    axes.set_title(f"{device()}, {dtype}")
    axes.legend()
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
