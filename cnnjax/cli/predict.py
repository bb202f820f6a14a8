"""`python -m cnnjax predict`: what photographs show."""

from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import rich.console
import rich.table
import tyro

import cnnjax
from cnnjax import errors
from cnnjax.cli.networks import class_names, load_network, of_kind, weights_file
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
    network = of_kind(Classifier, network)
    prepare = cnnjax.weights.preprocessing(model, weights)
    images = np.stack([prepare(picture) for picture in pictures])
    logits, _ = jax.jit(network.apply)(variables, images)
    probabilities = np.asarray(cnnjax.ops.softmax(logits))
    count = probabilities.shape[1]
    usual = cnnjax.weights.imagenet_class_names if count == 1000 else tuple
    names = class_names(weights, count, usual)

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
