"""Which anchor has to find which object."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


NO_OBJECT = -1
BETWEEN = -2


def match_anchors(
    overlaps: Float[Array, "objects anchors"],
    valid: Bool[Array, " objects"],
    foreground: float,
    background: float,
    low_quality: bool = False,
) -> Int[Array, " anchors"]:
    """Returns the index of each anchor's object.

    It is the one that the anchor overlaps most, the first of equal ones.

    Args:
      overlaps: IoU of each pair.
      valid: which objects there are; the others are padding.
      foreground: the least IoU with an object.
      background: below it an anchor has none: `NO_OBJECT` (-1). What is between the two
        is neither, and learns nothing: `BETWEEN` (-2).
      low_quality: whether the anchors that overlap an object most of all belong to
        their own best objects, however little that is.

    Source: Ren et al., 2015, https://arxiv.org/abs/1506.01497, section 3.1.2;
    `low_quality` as in torchvision.
    """
    overlaps = jnp.where(valid[:, None], overlaps, -1.0)
    best = jnp.argmax(overlaps, 0)
    most = jnp.max(overlaps, 0)
    unsure = jnp.where(most < background, NO_OBJECT, BETWEEN)
    found = jnp.where(most >= foreground, best, unsure)
    if low_quality:
        highest = overlaps.max(1, keepdims=True)
        kept = ((overlaps == highest) & (highest > 0) & valid[:, None]).any(0)
        found = jnp.where(kept, best, found)
    return found
