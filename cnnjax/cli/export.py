"""`python -m cnnjax export`: a model as a file that needs none of its code."""

from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro

import cnnjax
from cnnjax import errors
from cnnjax.cli.networks import load_network, weights_file
from cnnjax.models import Network


FORMATS = {"jax": cnnjax.inference.export, "onnx": cnnjax.inference.export_onnx}


def export(
    model: Annotated[str, tyro.conf.Positional],
    out: Path,
    weights: str = "pypi",
    format: str = "jax",
    image_size: int | None = None,
    batch_size: int | None = None,
) -> None:
    """Writes a model with its weights into one file, BatchNorm folded.

    Args:
        model: a name that `python -m cnnjax models` lists.
        out: the file.
        weights: "pypi" (the extra `pretrained`), a run's folder, a file of weights or
            of `cnnjax.weights.save`, hf://owner/repository[/file], or "random" for
            initial ones.
        format: "jax" for `cnnjax.inference.load` on CPUs, GPUs and TPUs (the extra
            `export`), or "onnx" (the extra `onnx`).
        image_size: rows and columns of the images (default: the model's own).
        batch_size: images per call (default: any number).
    """
    if format not in FORMATS:
        raise errors.unknown("format", format, FORMATS)
    if any(size is not None and size < 1 for size in (image_size, batch_size)):
        raise errors.UserError("--batch-size and --image-size have to be at least 1")
    network, variables = _load(model, weights_file(weights), image_size)
    side = image_size or network.image_size
    FORMATS[format](network, variables, (batch_size, side, side, 3), out)
    print(
        f"wrote {out}, which takes float32 images "
        f"({batch_size or 'n'}, {side}, {side}, 3), normalised as the weights want it"
    )


def _load(
    name: str, weights: str, image_size: int | None
) -> tuple[Network, dict[str, Any]]:
    """Returns the model and its variables."""
    saved = cnnjax.weights.saved_name(weights)
    if saved not in (None, name):
        raise errors.UserError(f"{weights} is a saved {saved}, not a {name}")
    if weights != "random":
        return load_network(name, weights)
    network = cnnjax.create(name)
    side = image_size or network.image_size
    images = jnp.zeros((1, side, side, 3))
    return network, jax.jit(network.init)(jax.random.key(0), images)
