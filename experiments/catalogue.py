"""Counts parameters and multiply-accumulates of every variant.

    python experiments/catalogue.py

writes `cnnjax/catalogue.json`, which `python -m cnnjax models` shows: to count them all
takes minutes. Nothing is computed; a test holds the file against the code. MACs are
"published" ones (`cnnjax.cost.analyze`) of one image of the size shown.
"""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp

import cnnjax
from cnnjax import cli, cost


CATALOGUE = Path(cnnjax.__file__).with_name("catalogue.json")


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the count."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""

    pattern: str = "*"
    """Which variants to count."""
    out: Path = CATALOGUE
    """The file to write."""


PRESETS = {
    "default": Config(),
    "smoke": Config(preset="smoke", pattern="resnet20_cifar", out=Path("smoke.json")),
}


def count(name: str) -> dict[str, int]:
    """Returns `num_params`, `macs` and `image_size` of a variant."""
    model = cnnjax.create(name)
    size = model.image_size
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    params = jax.tree.leaves(variables["params"])
    return {
        "num_params": sum(a.size for a in params),
        "macs": cost.analyze(model, image).macs,
        "image_size": size,
    }


def main(config: Config) -> dict[str, dict[str, int]]:
    """Writes the file and returns what is in it."""
    rows = {name: count(name) for name in cnnjax.list_models(config.pattern)}
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    config.out.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return rows


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
