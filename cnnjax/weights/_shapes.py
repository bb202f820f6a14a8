"""The variables that a model has, without computing them."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import trees
from cnnjax.models import Network
from cnnjax.weights._stacking import unroll


HEAD = re.compile("params/head(_0)?/bias")  # Some have one for each map.


def shapes_of(model: Network, in_channels: int = 3) -> dict[str, Any]:
    """Returns the shapes of a model's variables by path; nothing is computed.

    Args:
      model: whose blocks have parameters of their own here, even if it scans them.
      in_channels: channels of its images.
    """
    size = model.image_size
    image = jax.ShapeDtypeStruct((1, size, size, in_channels), jnp.float32)
    return _flat(jax.eval_shape(model.init, jax.random.key(0), image))


def first_kernel(model: Network, shapes: Mapping[str, Any]) -> str:
    """Returns the path of the only parameter that depends on the images' channels.

    Args:
      model: any.
      shapes: those of its variables for images of three channels.
    """
    other = shapes_of(model, in_channels=1)
    (first,) = (path for path in shapes if shapes[path].shape != other[path].shape)
    return first


def head(model: Network, shapes: Mapping[str, Any]) -> tuple[str, int]:
    """Returns the path of the bias of a model's logits, and how many a class has of it.

    Detectors' heads have a logit for each anchor of a place.

    Args:
      model: any with classes.
      shapes: those of its variables.
    """
    path = next(path for path in shapes if HEAD.fullmatch(path))
    return path, shapes[path].size // (model.num_classes or 1)


def num_classes(model: Network, variables: Mapping[str, Any]) -> int:
    """Returns how many classes variables are for, of such a model with any number."""
    path, logits = head(model, shapes_of(model))
    return np.shape(_flat(variables)[path])[0] // logits


def in_channels(model: Network, variables: Mapping[str, Any]) -> int:
    """Returns how many channels the images have that a model's variables are for."""
    first = first_kernel(model, shapes_of(model))
    return np.shape(_flat(variables)[first])[-2]


def misfits(model: Network, variables: Mapping[str, Any]) -> list[str]:
    """Returns what is missing, unexpected or misshapen in a model's variables."""
    found, wanted = _flat(variables), shapes_of(model)
    shape = np.shape(found.get(first_kernel(model, wanted), 0))
    if len(shape) > 1 and shape[-2] != 3:
        wanted = shapes_of(model, in_channels=shape[-2])
    return trees.differences(found, wanted)


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    return trees.flat(unroll(variables))
