"""`python -m cnnjax detect`: which objects a photograph shows, and where."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.table
import tyro
from PIL import Image

import cnnjax
from cnnjax import detection, errors, plots
from cnnjax.cli.networks import (
    class_names,
    colour_channels,
    load_network,
    of_kind,
    weights_file,
)
from cnnjax.cli.photos import in_channels, open_photo


# Which most of the weights are for that come without names: COCO's, by their numbers,
# of which some have no class. https://cocodataset.org/#explore
COCO = (
    "background,person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,"
    "traffic light,fire hydrant,N/A,stop sign,parking meter,bench,bird,cat,dog,horse,"
    "sheep,cow,elephant,bear,zebra,giraffe,N/A,backpack,umbrella,N/A,N/A,handbag,tie,"
    "suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,"
    "skateboard,surfboard,tennis racket,bottle,N/A,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,"
    "couch,potted plant,bed,N/A,dining table,N/A,N/A,toilet,N/A,tv,laptop,mouse,remote,"
    "keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,N/A,book,clock,vase,"
    "scissors,teddy bear,hair drier,toothbrush"
).split(",")


def detect(
    photo: Annotated[Path, tyro.conf.Positional],
    weights: str,
    model: str = "fasterrcnn_resnet50_fpn",
    threshold: float = 0.5,
    norm_epsilon: float | None = None,
    json: bool = False,
    save: Path | None = None,
) -> None:
    """Says which objects a photograph shows, and where.

    Args:
        photo: a file of any format that Pillow reads, of any size.
        weights: a run's folder or a file that `cnnjax.weights.save` wrote, which say
            themselves which model they are of; or a file of weights, or
            hf://owner/repository[/file].
        model: a name that `python -m cnnjax models` lists, for other weights.
        threshold: the least score, from 0 to 1.
        norm_epsilon: of batch normalisation when the weights were trained, if it was
            another than the model's: 0 for torchvision's first weights for COCO.
        json: prints JSON instead of a table; boxes are x1, y1, x2, y2.
        save: a PNG file for the photograph with boxes, and masks, if there are any.
    """
    if not 0 <= threshold <= 1:
        raise errors.UserError(f"--threshold has to be from 0 to 1, not {threshold}")
    if norm_epsilon is not None and not 0 <= norm_epsilon < 1:
        raise errors.UserError(
            f"--norm-epsilon has to be at least 0 and below 1, not {norm_epsilon}"
        )
    picture = open_photo(photo)
    weights = weights_file(weights)
    network, variables = load_network(model, weights)
    network = of_kind(detection.Detector, network)
    channels = colour_channels(network, variables, weights)
    # The network would leave out what is asked for.
    least = min(threshold, network.selection.score_threshold)
    selection = dataclasses.replace(network.selection, score_threshold=least)
    network = network.clone(selection=selection)
    if norm_epsilon is not None:
        variables = cnnjax.weights.with_norm_epsilon(network, variables, norm_epsilon)
    prepare = cnnjax.weights.preprocessing(model, weights)
    image, size = prepare.fit(in_channels(picture, channels))
    try:
        found, _ = jax.jit(network.apply)(
            variables, jnp.asarray(image[None, ..., :channels]), sizes=jnp.array([size])
        )
    except ValueError as error:  # Of a size that the network cannot take.
        raise errors.UserError(f"{photo}: {error}") from error
    objects = _in_photo(found, size, picture, threshold)
    names = class_names(weights, network.classes, lambda: COCO)
    _show(objects, names, json)
    if save is not None:
        plots.boxes(save, [np.asarray(picture)], [objects], names)
        if not json:
            print(f"wrote {save}")


def _in_photo(
    found: detection.Detections,
    size: tuple[int, int],
    photo: Image.Image,
    threshold: float,
) -> plots.Objects:
    """Returns the detections of one image, in pixels of its photograph.

    Args:
      found: of one image.
      size: rows and columns of the photograph in it.
      photo: the photograph.
      threshold: the least score.
    """
    one = jax.tree.map(lambda x: np.asarray(x[0]), found)
    rows = one.valid & (one.scores >= threshold)
    scale = np.array([*photo.size] * 2) / np.array([*size[::-1]] * 2)
    boxes = one.boxes_xyxy[rows] * scale.astype(np.float32)
    masks = None
    if one.masks is not None:
        place = (photo.height, photo.width)
        masks = detection.paste_masks(one.masks[rows], boxes, place)
    return plots.Objects(boxes, one.labels[rows], one.scores[rows], masks)


def _show(objects: plots.Objects, names: Sequence[str], as_json: bool) -> None:
    """Prints objects, the best first."""
    assert objects.scores is not None  # They were detected.
    rows = [
        (names[int(label)], float(score), [*map(float, box)])
        for label, score, box in zip(
            objects.labels, objects.scores, objects.boxes_xyxy, strict=True
        )
    ]
    if as_json:
        keys = ("label", "score", "box_xyxy")
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=1))
        return
    table = rich.table.Table("label")
    for column in ("score", "x1", "y1", "x2", "y2"):
        table.add_column(column, justify="right")
    for name, score, box in rows:
        table.add_row(name, f"{score:.1%}", *(f"{side:.1f}" for side in box))
    rich.console.Console().print(table)
