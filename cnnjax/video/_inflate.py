"""Weights of images for a classifier of clips."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import trees
from cnnjax.ops._check import check
from cnnjax.video._fusion import EarlyFusion, LateFusion
from cnnjax.video._slow import SlowFusion, mean_of_frames


def inflate(
    fusion: EarlyFusion | LateFusion | SlowFusion,
    variables: Mapping[str, Any],
    clip_shape: Sequence[int],
) -> dict[str, Any]:
    """Returns a fusion's variables that are those of its model for images.

    A kernel that sees t frames instead of one is repeated for each and divided by t. A
    clip whose frames are all alike therefore has the image's logits.

    Args:
      fusion: of a model.
      variables: of this model, for images.
      clip_shape: (n, t, h, w, c).

    Raises:
      ValueError: if a variable is missing or has another shape, e.g. of a head for
        other classes, or one that is a convolution, which no `LateFusion` has.

    Source: Carreira and Zisserman, 2017, https://arxiv.org/abs/1705.07750, section 2.
    """
    clip = jax.ShapeDtypeStruct(tuple(clip_shape), jnp.float32)
    wanted = trees.flat(jax.eval_shape(fusion.init, jax.random.key(0), clip))
    images = trees.flat(variables)
    found = {}
    for path, like in wanted.items():
        if path.startswith("params/fusion"):
            found[path] = mean_of_frames(None, like.shape, like.dtype)
        elif (source := _of_images(path)) in images:
            found[path] = _repeated(images[source], like.shape)
    differences = trees.differences(found, wanted)
    check(
        not differences,
        f"the variables do not fit the fusion: {trees.few(differences)}",
    )
    return flax.traverse_util.unflatten_dict(found, sep="/")


def _of_images(path: str) -> str:
    """Returns where the model for images has a fusion's variable."""
    collection, module, *rest = path.split("/")
    inside = module in ("model", "tower")
    return "/".join([collection, *rest] if inside else [collection, module, *rest])


def _repeated(value: Any, shape: tuple[int, ...]) -> Any:
    """Returns a kernel [..., c, m] for several frames' channels, if that is the shape.

    It is told from the rest by its shape alone; anything else stays as it is.
    """
    own = np.shape(value)
    if own == shape or len(own) != len(shape) or len(own) < 2:
        return value
    frames = shape[-2] // own[-2]
    if shape != (*own[:-2], frames * own[-2], own[-1]):
        return value
    return jnp.concatenate([value] * frames, axis=-2) / frames
