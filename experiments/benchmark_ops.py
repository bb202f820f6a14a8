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
import importlib
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.table
from conv_shapes import NETWORKS, Shape
from jax import lax

from cnnjax import cli, ops


os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's must let JAX's work.
torch: Any = importlib.import_module("torch") if find_spec("torch") else None


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
    scale: float = 1.0
    """Factor on the sizes of the images; below 1 only to try the script out."""
    gradient: bool = True
    """Whether to time forward + backward, too."""
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
    document = {"machine": machine(), "rows": rows}
    (config.out / "benchmark_ops.json").write_text(json.dumps(document, indent=1))
    (config.out / "benchmark_ops.md").write_text(markdown(rows))
    rich.console.Console().print(markdown(rows))
    return rows


def measure(shape: Shape, batch_size: int, config: Config) -> dict[str, Any]:
    """Times one convolution, forward and with its gradients."""
    random = np.random.RandomState(0)
    images = (batch_size, shape.size, shape.size, shape.channels)
    kernel = (shape.kernel, shape.kernel, shape.channels // shape.groups)
    x = random.randn(*images).astype(np.float32)
    k = random.randn(*kernel, shape.features).astype(np.float32) / kernel[0]
    arrays = jax.device_put((x, k))
    convolutions = {
        "lax": jax_contestant(lax.conv_general_dilated, shape),
        "cnnjax": jax_contestant(ops.conv_general_dilated, shape),
    }
    row = {"shape": str(shape), "kind": shape.kind, "batch_size": batch_size}
    forward, both = {}, {}
    for name, conv in convolutions.items():
        forward[name] = functools.partial(jax.jit(conv), *arrays)
        both[name] = with_gradient(conv, *arrays)
    if torch is not None:
        forward["torch"], both["torch"] = torch_contestants(shape, x, k)
    row["forward_ms"] = clock(forward, config)
    if config.gradient:
        row["forward_backward_ms"] = clock(both, config)
    return row


def jax_contestant(conv: Callable, shape: Shape) -> Callable:
    """Returns the convolution (x, k) -> y by `conv`, which has lax's signature."""
    padding = shape.kernel - 1 - shape.padding if shape.transposed else shape.padding
    strides = (shape.stride, shape.stride)
    return functools.partial(
        conv,
        window_strides=(1, 1) if shape.transposed else strides,
        padding=[(padding, padding)] * 2,
        lhs_dilation=strides if shape.transposed else (1, 1),
        rhs_dilation=(shape.dilation, shape.dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=shape.groups,
    )


def with_gradient(conv: Callable, x, k) -> Callable:
    """Returns a function () -> (y, dx, dk) for a cotangent of ones."""

    def run(x, k, g):
        y, pullback = jax.vjp(conv, x, k)
        return y, *pullback(g)

    out = jax.eval_shape(conv, x, k)
    return functools.partial(jax.jit(run), x, k, jnp.ones(out.shape, out.dtype))


def torch_contestants(shape: Shape, x, k) -> tuple[Callable, Callable]:
    """Returns () -> y and () -> (y, dx, dk) in PyTorch, channels last."""
    layout = torch.channels_last
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    order = (2, 3, 0, 1) if shape.transposed else (3, 2, 0, 1)
    weights = torch.from_numpy(k.transpose(order).copy()).to(memory_format=layout)
    convolve = (
        torch.nn.functional.conv_transpose2d
        if shape.transposed
        else torch.nn.functional.conv2d
    )
    options = {
        "stride": shape.stride,
        "padding": shape.padding,
        "dilation": shape.dilation,
        "groups": shape.groups,
    }

    def forward():
        with torch.inference_mode():
            return convolve(images, weights, **options)

    def both():
        a, b = images.detach().requires_grad_(), weights.detach().requires_grad_()
        y = convolve(a, b, **options)
        y.backward(torch.ones_like(y))
        return y, a.grad, b.grad

    return forward, both


def clock(contestants: dict[str, Callable], config: Config) -> dict[str, float]:
    """Returns the median time of each in milliseconds, interleaved, when warm."""
    for run in contestants.values():
        jax.block_until_ready(run())
    times = {name: [] for name in contestants}
    start = time.perf_counter()
    for i in range(config.rounds):
        if i >= 3 and time.perf_counter() - start > config.seconds:
            break
        for name, run in contestants.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in times.items()}


def ratio(row: dict[str, Any], what: str, other: str, one: str) -> float:
    """Returns the other's time over the one's, or NaN where one was not measured."""
    times = row.get(what, {})
    return times.get(other, np.nan) / times.get(one, np.nan)


COLUMNS = {
    "forward, times faster than lax": ("forward_ms", "lax", "cnnjax"),
    "fwd + bwd, times faster than lax": ("forward_backward_ms", "lax", "cnnjax"),
    "forward, times PyTorch's time": ("forward_ms", "cnnjax", "torch"),
    "fwd + bwd, times PyTorch's time": ("forward_backward_ms", "cnnjax", "torch"),
}


def row_text(row: dict[str, Any]) -> str:
    """Returns a line about one shape."""
    ratios = " ".join(f"{ratio(row, *column):6.2f}" for column in COLUMNS.values())
    times = " ".join(f"{t:8.2f}" for t in row["forward_ms"].values())
    more = " ".join(f"{t:8.2f}" for t in row.get("forward_backward_ms", {}).values())
    return f"{row['batch_size']} {row['shape']:45} {ratios} | {times} | {more}"


def markdown(rows: list[dict[str, Any]]) -> str:
    """Returns the table: the median over the shapes of each class."""
    head = ["class", "batch", "shapes", *COLUMNS, "slowest against lax"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for kind, batch_size in sorted({(r["kind"], r["batch_size"]) for r in rows}):
        some = [r for r in rows if (r["kind"], r["batch_size"]) == (kind, batch_size)]
        cells = [kind, str(batch_size), str(len(some))]
        for column in COLUMNS.values():
            median = np.median([ratio(row, *column) for row in some])
            cells.append("" if np.isnan(median) else f"{median:.2f}")
        worst = min(
            ratio(r, w, "lax", "cnnjax")
            for r in some
            for w in ("forward_ms", "forward_backward_ms")
            if w in r
        )
        lines.append(f"| {' | '.join([*cells, f'{worst:.2f}'])} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Returns what decides about the figures, besides the code."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "torch": getattr(torch, "__version__", None),
    }


def processor() -> str:
    """Returns the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
