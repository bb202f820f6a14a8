"""`python -m cnnjax predict`: what photographs show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import rich.console
import rich.table
import tyro

import cnnjax
from cnnjax import errors
from cnnjax.cli.networks import load_network, weights_file
from cnnjax.cli.photos import open_photo
from cnnjax.models import Classifier


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
            hf://owner/repository[/file]. A run's folder, and a file that
            `cnnjax.weights.save` wrote, say themselves which model they are of.
        top: labels per photograph.
        save: a PNG file for the photographs with bars of the probabilities.
    """
    if not photos:
        raise errors.UserError("name at least one photograph")
    if top < 1:
        raise errors.UserError(f"--top has to be at least 1, not {top}")
    pictures = [open_photo(path) for path in photos]
    weights = weights_file(weights)
    network, variables = load_network(model, weights)
    if not isinstance(network, Classifier):
        raise errors.UserError(
            f"a {type(network).__name__} says what pixels show: use `segment`"
        )
    prepare = cnnjax.weights.preprocessing(model, weights)
    images = np.stack([prepare(picture) for picture in pictures])
    logits, _ = jax.jit(network.apply)(variables, images)
    probabilities = np.asarray(cnnjax.ops.softmax(logits))
    names = cnnjax.weights.class_names(weights)
    names = names or _class_names(probabilities.shape[1])

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


def _class_names(num_classes: int) -> Sequence[str]:
    if num_classes == 1000:
        return cnnjax.weights.imagenet_class_names()
    return [f"class {i}" for i in range(num_classes)]
