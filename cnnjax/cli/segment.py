"""`python -m cnnjax segment`: what each pixel of a photograph shows."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import rich.console
import rich.table
import tyro
from jaxtyping import Float

import cnnjax
from cnnjax import errors, segmentation
from cnnjax.cli.networks import (
    class_names,
    colour_channels,
    load_network,
    of_kind,
    weights_file,
)
from cnnjax.cli.photos import in_channels, open_photo


# Which most of the weights are for that come without names: PASCAL VOC's, in the order
# of the logits, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/segexamples.
VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable "
    "dog horse motorbike person pottedplant sheep sofa train tvmonitor"
).split()


def segment(
    photo: Annotated[Path, tyro.conf.Positional],
    weights: str,
    model: str = "deeplabv3_resnet50",
    out: Path = Path("segmented.png"),
    tile: int | None = None,
) -> None:
    """Says what each pixel of a photograph shows, and paints it.

    Args:
        photo: a file of any format that Pillow reads, of any size.
        weights: a run's folder or a file that `cnnjax.weights.save` wrote, which say
            themselves which model they are of; or a file of weights, or
            hf://owner/repository[/file].
        model: a name that `python -m cnnjax models` lists, for other weights.
        out: the PNG file: the photograph under the colours of the classes.
        tile: rows and columns of the tiles that it is cut into, if it is too large for
            memory.
    """
    if tile is not None and tile < 1:
        raise errors.UserError(f"--tile has to be at least 1, not {tile}")
    picture = open_photo(photo)
    weights = weights_file(weights)
    network, variables = load_network(model, weights)
    network = of_kind(segmentation.Segmenter, network)
    channels = colour_channels(network, variables, weights)
    seen = in_channels(picture, channels)
    image = cnnjax.weights.preprocessing(model, weights).normalise(seen)
    apply = functools.partial(jax.jit(_logits(network)), variables)
    try:
        logits = _predict(network, apply, image[None, ..., :channels], tile)
    except ValueError as error:  # Of a size that the network cannot take.
        raise errors.UserError(f"{photo}: {error}") from error
    labels = np.asarray(logits[0]).argmax(axis=-1)

    names = class_names(weights, logits.shape[-1], lambda: VOC)
    rich.console.Console().print(_table(labels, names))
    cnnjax.plots.overlay(out, np.asarray(picture), labels)
    print(f"wrote {out}")


def _logits(network: segmentation.Segmenter):
    return lambda variables, images: network.apply(variables, images)[0]


def _predict(
    network: segmentation.Segmenter,
    apply: segmentation.Apply,
    image: Float[np.ndarray, "1 h w c"],
    tile: int | None,
):
    """Returns logits [1, h, w, k] of an image of any size."""
    if network.margin:
        return segmentation.predict_tiled(
            apply,
            image,
            tile or network.image_size,
            margin=network.margin,
            stride=network.stride,
        )
    if tile is None:
        return segmentation.predict_padded(apply, image, network.stride)
    return segmentation.predict_sliding(apply, image, tile, max(1, tile // 2))


def _table(labels: np.ndarray, names: Sequence[str]) -> rich.table.Table:
    """Makes a row for each class that is there, the commonest first."""
    counts = np.bincount(labels.ravel(), minlength=len(names))
    colours = cnnjax.plots.class_colours(len(names))
    table = rich.table.Table("", "class")
    table.add_column("pixels", justify="right")
    for i in map(int, np.argsort(-counts, kind="stable")):
        if counts[i]:
            red, green, blue = colours[i]
            swatch = f"[on rgb({red},{green},{blue})]  [/]"
            table.add_row(swatch, names[i], f"{counts[i] / labels.size:.1%}")
    return table
