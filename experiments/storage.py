"""What weights lose when they are stored in fewer bits.

Claim: EfficientNet-Lite's ImageNet weights, kernels kept in bfloat16, or in int8 with a
scale per output channel, and computed with in float32, as `cnnjax.weights.save(...,
storage=...)` and `restore` do it: half and a quarter of the bytes.

    python experiments/storage.py

Random crops and flips of the photographs that scikit-learn and scikit-image come with.
There are no labels for most of them: the labels that the float32 weights give are what
the others have to agree with, on all pictures and on those where these weights are sure
(a probability of at least a half). Deterministic; a minute on two CPU cores. The table
stands in docs/inference.md. The extra `pretrained` has the weights.
"""

import dataclasses
import tempfile
from pathlib import Path

import jax
import numpy as np
import rich.console
import rich.table
from PIL import Image

import cnnjax
from cnnjax import cli


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the comparison."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""
    models: tuple[str, ...] = tuple(f"efficientnet_lite{i}" for i in range(3))
    """Whose weights."""
    crops: int = 300
    """How many pictures are cut out of the photographs."""
    batch_size: int = 20
    """Pictures per call."""
    seed: int = 0
    """Of the crops."""


PRESETS = {
    "default": Config(),
    "smoke": Config("smoke", ("efficientnet_lite0",), crops=6, batch_size=6),
}

STORAGES = (None, "bfloat16", "int8")


@dataclasses.dataclass(frozen=True)
class Loss:
    """What a way of storing weights costs.

    Attributes:
      megabytes: size of the file, in 10^6 bytes.
      agreement: share of the pictures that have the label of the float32 weights.
      agreement_if_sure: likewise, of the pictures where these give it a probability of
        at least a half.
      error: |logits - those of the float32 weights|, relative to these, as Euclidean
        norms over all pictures.
    """

    megabytes: float
    agreement: float
    agreement_if_sure: float
    error: float


def main(config: Config) -> dict[str, dict[str, Loss]]:
    """Prints and returns what is lost, by model and storage."""
    pictures = crops(config)
    table = rich.table.Table("model", "storage")
    for heading in ("file", "same label", "where sure", "error of the logits"):
        table.add_column(heading, justify="right")
    losses = {}
    for name in config.models:
        losses[name] = measure(name, pictures, config.batch_size)
        for storage, loss in losses[name].items():
            shares = (loss.agreement, loss.agreement_if_sure)
            cells = [f"{loss.megabytes:.2f} MB", *(f"{share:.1%}" for share in shares)]
            table.add_row(name, storage, *cells, f"{loss.error:.2%}")
    rich.console.Console().print(table)
    return losses


def measure(name: str, pictures: list[Image.Image], batch_size: int) -> dict[str, Loss]:
    """Returns what is lost with a model, by storage."""
    prepare = cnnjax.weights.preprocessing(name, "pypi")
    images = np.stack([prepare(picture) for picture in pictures])
    parts = np.array_split(images, -(-len(images) // batch_size))
    variables = cnnjax.weights.load(name, "pypi")
    apply = jax.jit(lambda v, x: cnnjax.create(name).apply(v, x)[0])
    losses, exact = {}, np.empty(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for storage in STORAGES:
            cnnjax.weights.save(path, name, variables, storage=storage)
            _, restored = cnnjax.weights.restore(path)
            logits = np.concatenate([apply(restored, part) for part in parts])
            exact = logits if storage is None else exact
            same = logits.argmax(1) == exact.argmax(1)
            sure = np.asarray(cnnjax.ops.softmax(exact)).max(1) >= 0.5
            losses[storage or "float32"] = Loss(
                megabytes=path.stat().st_size / 1e6,
                agreement=float(same.mean()),
                agreement_if_sure=float(same[sure].mean()) if sure.any() else np.nan,
                error=float(np.linalg.norm(logits - exact) / np.linalg.norm(exact)),
            )
    return losses


def crops(config: Config) -> list[Image.Image]:
    """Returns random squares of the photographs, half of them mirrored."""
    rng = np.random.default_rng(config.seed)
    photos = photographs()
    found = []
    for i in range(config.crops):
        photo = photos[i % len(photos)]
        side = int(min(photo.size) * rng.uniform(0.4, 1))
        left, top = (int(rng.integers(0, size - side + 1)) for size in photo.size)
        crop = photo.crop((left, top, left + side, top + side))
        mirrored = rng.integers(2) == 1
        turn = Image.Transpose.FLIP_LEFT_RIGHT
        found.append(crop.transpose(turn) if mirrored else crop)
    return found


def photographs() -> list[Image.Image]:
    """Returns the photographs in colour that come with the two packages."""
    import skimage.data
    import sklearn.datasets

    arrays = [
        sklearn.datasets.load_sample_image(f"{n}.jpg") for n in ("china", "flower")
    ]
    names = ("astronaut", "chelsea", "coffee", "rocket")
    arrays += [getattr(skimage.data, name)() for name in names]
    return [Image.fromarray(array) for array in arrays]


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
