"""Shows how much of the image the endpoints of a network see.

    python experiments/receptive_field.py --model resnet18

Prints size, stride, offset and padding of each endpoint's theoretical receptive field,
and draws the effective one within it: how strongly each pixel moves the middle of the
endpoint, on random images with random weights. Most of the field hardly counts (Luo et
al., 2016); training widens what does.
"""

import dataclasses
import math
from pathlib import Path

import jax
import rich.console
import rich.table

import cnnjax
from cnnjax import cli


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the picture."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""

    model: str = "resnet18"
    """A name that `python -m cnnjax models` lists."""
    image_size: int | None = None
    """Rows and columns (default: the model's own)."""
    images: int = 16
    """How many random images the effective field is the mean of."""
    seed: int = 0
    """Of weights and images."""
    out: Path = Path("receptive_field.png")
    """The picture."""


PRESETS = {
    "default": Config(),
    "smoke": Config("smoke", "resnet20_cifar", images=2),
}


def main(config: Config) -> dict[str, cnnjax.cost.ReceptiveField]:
    """Prints and returns the fields, by endpoint, and draws them."""
    model = cnnjax.create(config.model)
    side = config.image_size or model.image_size
    keys = jax.random.split(jax.random.key(config.seed))
    images = jax.random.normal(keys[0], (config.images, side, side, 3))
    fields = cnnjax.cost.receptive_field(model, images)
    maps = {name: field for name, field in fields.items() if None not in field.stride}
    table = rich.table.Table("endpoint", title=f"{config.model} at {side} pixels")
    for heading in ("size", "stride", "offset", "padding"):
        table.add_column(heading, justify="right")
    names = sorted(maps, key=lambda name: (maps[name].stride, maps[name].size))
    for name in names:
        values = [value[0] for value in dataclasses.astuple(maps[name])]
        table.add_row(name, *map(_cell, values))
    rich.console.Console().print(table)

    variables = jax.jit(model.init)(keys[1], images[:1])
    cnnjax.cost.plot_receptive_field(config.out, model, variables, images, names)
    print(f"wrote {config.out}")
    return maps


def _cell(value: float | None) -> str:
    return "unbounded" if value is None or value == math.inf else f"{value:g}"


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
