"""Says where a specialised network's time goes, operation by operation, on one core.

    taskset -c 0 python experiments/profile_model.py --models squeezenet1_1

Claim: what keeps a network from being faster than it is can be read off: products run
near the peak of a large product; what stands between them is bound by memory. What came
of it: `docs/inference.md`.

Each operation of XLA's program is set against what bounds it: the time that its
arithmetic takes at the rate of a large product of matrices, or its operands and result
take at the rate of a copy, whichever is longer. Both rates are measured here. On more
than one core products run beside what comes after them, and their times are no longer
their own: hence `taskset`.
"""

import collections
import dataclasses
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import flax.linen as nn
import hlo
import jax
import jax.numpy as jnp
import numpy as np
import rich.box
import rich.console
import rich.table
import timing
from jax import lax

import cnnjax
from cnnjax import cli, inference


ARITHMETIC = {"add", "subtract", "multiply", "divide", "maximum", "minimum", "negate"}
ARITHMETIC |= {"exponential", "tanh", "erf", "rsqrt", "sqrt", "select", "clamp"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the profile."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""
    models: tuple[str, ...] = ("squeezenet1_1", "mobilenet_v2", "convnext_tiny")
    """What to run."""
    batch_size: int = 8
    """Images at a time."""
    image_size: int | None = None
    """Side of the images, in pixels (default: the network's own)."""
    calls: int = 5
    """How many calls to average over."""
    top: int = 10
    """How many of the slowest operations to print."""


PRESETS = {
    "default": Config(),
    "smoke": Config("smoke", ("squeezenet1_1",), 1, 32, 2, 3),
}


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of the program.

    Attributes:
      name: in the program.
      kind: what it does, of several fused ones the last.
      shape: of its result.
      flops: additions, multiplications and the like.
      num_bytes: of its operands and its result.
      ms: how long it takes in a call.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    flops: float
    num_bytes: int
    ms: float


def main(config: Config) -> dict[str, list[Operation]]:
    """Prints the tables; returns all operations, the slowest first, by network."""
    console = rich.console.Console(highlight=False, soft_wrap=True)
    found = {}
    for name in config.models:
        flop_rate, byte_rate = rates()  # Anew, since machines become slower and faster.
        found[name] = operations = profile(name, config)

        def bound(row: Operation, rates=(flop_rate, byte_rate)) -> float:
            return 1e3 * max(row.flops / rates[0], row.num_bytes / rates[1])

        total = sum(row.ms for row in operations)
        console.print(
            f"{name}, {config.batch_size} images: {total:.1f} ms in operations; a "
            f"large product {flop_rate / 1e9:.0f} GFLOP/s, a copy "
            f"{byte_rate / 1e9:.1f} GB/s"
        )
        kinds = collections.defaultdict(list)
        for row in operations:
            kinds[row.kind].append(row)
        groups = sorted(kinds.items(), key=lambda item: -sum(r.ms for r in item[1]))
        rows = [(kind, f"{len(group)}", group) for kind, group in groups[: config.top]]
        rows += [(r.kind, f"{r.shape}", [r]) for r in operations[: config.top]]
        table = rich.table.Table("operation", "number or shape", box=rich.box.MARKDOWN)
        for heading in ("ms", "share", "GFLOP/s", "GB/s", "bound, ms"):
            table.add_column(heading, justify="right")
        for kind, what, group in rows:
            ms = sum(row.ms for row in group)
            table.add_row(
                *(kind, what, f"{ms:.2f}", f"{ms / total:.0%}"),
                f"{sum(row.flops for row in group) / ms / 1e6:.1f}",
                f"{sum(row.num_bytes for row in group) / ms / 1e6:.1f}",
                f"{sum(map(bound, group)):.2f}",
            )
        console.print(table)
    return found


def rates() -> tuple[float, float]:
    """Returns the FLOP per second of a large product and the bytes of a large copy."""
    square, large = jnp.ones((1, 1, 1536, 1536)), jnp.ones(1 << 24)
    dense = nn.Dense(1536, use_bias=False)
    variables = dense.init(jax.random.key(0), square)
    product = inference.specialise(dense, variables, square.shape)
    # In place: the system would have to clear new memory.
    passes = jax.jit(lambda x: lax.fori_loop(0, 8, lambda _, y: y + 1, x))
    runs = {"product": lambda: product(square), "passes": lambda: passes(large)}
    ms = timing.clock(runs, rounds=7, seconds=10)
    flops, num_bytes = 2 * 1536**3, 8 * 2 * large.nbytes
    return 1e3 * flops / ms["product"], 1e3 * num_bytes / ms["passes"]


def profile(name: str, config: Config) -> list[Operation]:
    """Runs a network; returns its operations, the slowest first."""
    model = cnnjax.create(name)
    side = config.image_size or model.image_size
    images = np.random.RandomState(0).randn(config.batch_size, side, side, 3)
    images = jnp.asarray(images, jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images[:1])
    fast = inference.specialise(model, variables, images.shape)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(config.calls):
                jax.block_until_ready(fast(images))
        (path,) = Path(folder).rglob("*.xplane.pb")
        times = durations(jax.profiler.ProfileData.from_file(str(path)))
    text = fast.compiled.as_text() or ""
    rows, called = hlo.entry(text), hlo.computations(text)
    types = {row.name: row.type for row in rows}
    operations = [
        Operation(
            row.name,
            f"fused {row.origin.rpartition('/')[2]}" if row.op == "fusion" else row.op,
            hlo.shapes(row.type)[0],
            flops(row, types, called),
            sum(map(hlo.num_bytes, (row.type, *(types[x] for x in row.operands)))),
            times[row.name] / config.calls,
        )
        for row in rows
        if row.name in times
    ]
    return sorted(operations, key=lambda operation: -operation.ms)


def durations(data: Any) -> dict[str, float]:
    """Returns the milliseconds of a trace's operations of XLA, by name."""
    times = collections.defaultdict(float)
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats:
                    times[str(stats["hlo_op"])] += event.duration_ns / 1e6
    return times


def flops(
    row: hlo.Instruction, types: dict[str, str], called: hlo.Computations
) -> float:
    """Returns what an instruction adds, multiplies and the like."""
    size = sum(map(math.prod, hlo.shapes(row.type)))
    if row.op == "dot":
        (left,) = hlo.shapes(types[row.operands[0]])
        summed = re.findall(r"lhs_contracting_dims={([\d,]*)}", row.rest)[0].split(",")
        return 2 * size * math.prod(left[int(axis)] for axis in summed)
    if row.op == "convolution":  # Of a kernel [kh, kw, c / groups, m].
        (kernel,) = hlo.shapes(types[row.operands[1]])
        return 2 * size * math.prod(kernel[:-1])
    if row.op == "fusion":
        body = called[row.rest.partition("calls=%")[2].partition(",")[0]]
        return sum(flops(line, {r.name: r.type for r in body}, called) for line in body)
    return size if row.op in ARITHMETIC else 0


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
