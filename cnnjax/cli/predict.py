"""`python -m cnnjax predict`: what photographs show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import rich.console
import rich.table
import tyro
from PIL import Image, UnidentifiedImageError

import cnnjax
from cnnjax import errors
from cnnjax.cli.networks import load_network


def predict(
    photos: Annotated[tuple[Path, ...], tyro.conf.Positional],
    model: str = "efficientnet_lite0",
    weights: str = "pypi",
    top: int = 5,
    save: Path | None = None,
) -> None:
    """Says what photographs show: labels and their probabilities.

    Args:
        photos: files of any format that Pillow reads.
        model: a name that `python -m cnnjax models` lists.
        weights: "pypi" (the extra `pretrained`), a file of weights, or
            hf://owner/repository[/file]. A file that `cnnjax.weights.save` wrote
            says itself which model it is of.
        top: labels per photograph.
        save: a PNG file for the photographs with bars of the probabilities.
    """
    if not photos:
        raise errors.UserError("name at least one photograph")
    if top < 1:
        raise errors.UserError(f"--top has to be at least 1, not {top}")
    pictures = [_open(path) for path in photos]
    network, variables = load_network(model, weights)
    prepare = cnnjax.weights.preprocessing(model, weights)
    images = np.stack([prepare(picture) for picture in pictures])
    logits, _ = jax.jit(network.apply)(variables, images)
    probabilities = np.asarray(cnnjax.ops.softmax(logits))
    names = _class_names(probabilities.shape[1])

    table = rich.table.Table("photo", "label")
    table.add_column("probability", justify="right")
    answers = []
    for path, row in zip(photos, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        answers.append([(names[i], float(row[i])) for i in best])
        for name, probability in answers[-1]:
            table.add_row(path.name, name, f"{probability:.1%}")
        table.add_section()
    rich.console.Console().print(table)
    if save is not None:
        cnnjax.plots.predictions(save, [np.asarray(p) for p in pictures], answers)
        print(f"wrote {save}")


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except FileNotFoundError as error:
        raise errors.UserError(f"there is no file {path}") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise errors.UserError(
            f"{path} cannot be read as a picture: {error}"
        ) from error


def _class_names(num_classes: int) -> Sequence[str]:
    if num_classes == 1000:
        return cnnjax.weights.imagenet_class_names()
    return [f"class {i}" for i in range(num_classes)]
