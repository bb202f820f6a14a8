"""Compares the peak of the activations' memory with what XLA sets aside.

    python experiments/peak_memory.py

Claim: `peak_memory_bytes` is within 20 % of the temporary and output memory of XLA's
compiler for CPUs (convolutions by `lax`), unless XLA's fusion keeps other arrays. For
those networks the table says what XLA's own program keeps at its peak: parameters that
it broadcasts to the size of activations long before they are used, and outputs of
convolutions whose normalised sum it computes anew for every reader instead of storing.
"""

import dataclasses

import hlo
import jax
import jax.numpy as jnp
import rich.console
import rich.table

import cnnjax
from cnnjax import cli


# Networks whose figure is to be met, and such that XLA keeps other arrays of.
MET = (
    *("alexnet", "vgg11", "vgg16_bn", "resnet18", "densenet121", "squeezenet1_0"),
    *("mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "efficientnet_b0"),
    "regnet_y_400mf",
)
EXPLAINED = ("resnet50", "convnext_tiny", "resnet20_cifar", "shufflenet_v1_g3")


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the comparison."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""

    models: tuple[str, ...] = MET + EXPLAINED
    """Names that `python -m cnnjax models` lists."""
    batch_size: int = 4
    """Images of a call."""


PRESETS = {
    "default": Config(),
    "smoke": Config("smoke", ("squeezenet1_0", "resnet20_cifar"), 2),
}


@dataclasses.dataclass(frozen=True)
class Peak:
    """The most memory of a network's activations, in bytes.

    Attributes:
      counted: by `cnnjax.cost.analyze`.
      compiled: by XLA.
      kept: arrays of XLA's program at its peak: name, bytes, where they come from; the
        largest first.
    """

    counted: int
    compiled: int
    kept: list[tuple[str, int, str]]

    @property
    def ratio(self) -> float:
        """Counted over compiled."""
        return self.counted / self.compiled


def measure(name: str, batch_size: int) -> Peak:
    """Counts and compiles the inference of a network; nothing runs."""
    model = cnnjax.create(name, conv_general_dilated=jax.lax.conv_general_dilated)
    side = model.image_size
    images = jax.ShapeDtypeStruct((batch_size, side, side, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def logits(variables, images):
        return model.apply(variables, images)[0]

    compiled = jax.jit(logits).lower(variables, images).compile()
    memory = compiled.memory_analysis()
    assert memory is not None, "this platform does not report its memory"
    report = cnnjax.cost.analyze(logits, variables, images, platform="cpu")
    return Peak(
        counted=report.peak_memory_bytes,
        compiled=memory.temp_size_in_bytes + memory.output_size_in_bytes,
        kept=kept_at_peak(compiled.as_text() or ""),
    )


def kept_at_peak(text: str) -> list[tuple[str, int, str]]:
    """Returns the arrays that exist at the peak of a compiled, scheduled program.

    Args:
      text: the program's, in XLA's notation.
    """
    rows = hlo.entry(text)
    same, last = {}, {}  # Other names of an array; its last use.

    def original(name):
        return original(same[name]) if name in same else name

    for i, row in enumerate(rows):
        if row.op in ("bitcast", "get-tuple-element", "tuple") and row.operands:
            same[row.name] = row.operands[0]
        last.update(dict.fromkeys(map(original, row.operands), i))

    types = {row.name: row.type for row in rows}
    alive: dict[str, int] = {}
    peak: dict[str, int] = {}
    for i, row in enumerate(rows):
        used = map(original, row.operands)
        dying = {name for name in used if last[name] == i and name in alive}
        if row.op not in ("parameter", "constant") and row.name not in same:
            if row.op == "fusion":  # In place of an array of the same shape.
                for name in [n for n in dying if types[n] == row.type][:1]:
                    dying.remove(name)
                    del alive[name]
            alive[row.name] = hlo.num_bytes(row.type)
        if sum(alive.values()) > sum(peak.values()):
            peak = dict(alive)
        for name in dying:
            del alive[name]
    origins = {row.name: row.origin for row in rows}
    found = [(name, size, origins[name]) for name, size in peak.items()]
    return sorted(found, key=lambda row: -row[1])


def main(config: Config) -> dict[str, Peak]:
    """Prints and returns the peaks."""
    table = rich.table.Table("network", title=f"MB, {config.batch_size} images")
    for heading in ("counted", "XLA", "ratio", "XLA's program", "of it broadcasts"):
        table.add_column(heading, justify="right")
    peaks = {name: measure(name, config.batch_size) for name in config.models}
    for name, peak in peaks.items():
        broadcasts = sum(
            size for key, size, _ in peak.kept if key.startswith("wrapped_broadcast")
        )
        sizes = (peak.counted, peak.compiled, sum(size for _, size, _ in peak.kept))
        counted, compiled, program = (f"{size / 1e6:.2f}" for size in sizes)
        ratio = f"{peak.ratio:.2f}"
        table.add_row(
            name, counted, compiled, ratio, program, f"{broadcasts / 1e6:.2f}"
        )
    console = rich.console.Console()
    console.print(table)
    for name, peak in peaks.items():
        if not 0.8 <= peak.ratio <= 1.2:
            console.print(f"{name}: the largest arrays at the peak of XLA's program")
            for key, size, where in peak.kept[:6]:
                console.print(f"  {size / 1e6:8.2f} MB {key}: {where}", soft_wrap=True)
    return peaks


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
