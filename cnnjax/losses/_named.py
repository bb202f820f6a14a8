"""Losses of segmentation by name, and sums of them."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax import errors
from cnnjax.losses import _pixels, _regions
from cnnjax.ops._check import check
from cnnjax.ops._spec import AnyArray


SegmentationLoss = Callable[[AnyArray, AnyArray], Float[Array, " n"]]

_PIXELS = {"cross_entropy": _pixels.cross_entropy, "focal": _pixels.softmax_focal}
_REGIONS = {
    "dice": _regions.dice,
    "jaccard": _regions.jaccard,
    "tversky": _regions.tversky,
}


def create(
    name: str, *, num_classes: int, ignore_index: int | None = None
) -> SegmentationLoss:
    """Returns a loss of segmentation, e.g. `create("focal+dice", num_classes=21)`.

    Args:
      name: of "cross_entropy", "focal" (of softmax), "dice", "jaccard" and "tversky",
        one or several, which are added.
      num_classes: how many channels the logits must have, two or more.
      ignore_index: the label of pixels that do not count.

    Returns:
      A function from logits [n, h, w, num_classes] and labels [n, h, w] to losses [n].
      Losses of pixels are averaged over the image's pixels that count; where none does,
      they are 0. It raises a ValueError if shapes do not fit, or a known label is no
      class.

    Raises:
      UserError: if there is no such loss, suggesting the near ones; or there are too
        few classes.
    """
    if num_classes < 2:
        raise errors.UserError(
            f"num_classes must be 2 or more, not {num_classes}: the background is one"
        )
    terms = [_term(part.strip(), ignore_index) for part in name.split("+")]

    def loss(logits: AnyArray, labels: AnyArray) -> Float[Array, " n"]:
        check(
            logits.ndim == 4 and logits.shape[-1] == num_classes,
            f"logits must be [n, h, w, {num_classes}], not of shape {logits.shape}",
        )
        return functools.reduce(jnp.add, [term(logits, labels) for term in terms])

    return loss


def _term(name: str, ignore_index: int | None) -> SegmentationLoss:
    if name in _REGIONS:
        return functools.partial(_REGIONS[name], ignore_index=ignore_index)
    if name not in _PIXELS:
        raise errors.unknown("loss", name, _PIXELS | _REGIONS)
    of_pixels = functools.partial(_PIXELS[name], ignore_index=ignore_index)

    def of_images(logits: AnyArray, labels: AnyArray) -> Float[Array, " n"]:
        losses = of_pixels(logits, labels)
        counts = True if ignore_index is None else labels != ignore_index
        counted = jnp.sum(jnp.broadcast_to(counts, losses.shape), axis=(1, 2))
        return jnp.sum(losses, axis=(1, 2)) / jnp.maximum(counted, 1)

    return of_images
