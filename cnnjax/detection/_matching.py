"""Which anchor has to find which object."""

import jax
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


def claim_best(
    matched: Int[Array, " anchors"],
    overlaps: Float[Array, "objects anchors"],
    valid: Bool[Array, " objects"],
) -> Int[Array, " anchors"]:
    """Returns the index of each anchor's object when each has one at least.

    An object has the anchor that overlaps it most, the first of equal ones; of two that
    would have the same one, the last has it.

    Args:
      matched: as `match_anchors` returns it.
      overlaps, valid: as it takes them.

    Source: Liu et al., 2016, https://arxiv.org/abs/1512.02325, section 2.2.
    """
    overlaps = jnp.where(valid[:, None], overlaps, 0)
    claims = jnp.where(overlaps.max(1) > 0, jnp.arange(len(valid)), NO_OBJECT)
    owner = jnp.full_like(matched, NO_OBJECT).at[overlaps.argmax(1)].max(claims)
    return jnp.where(owner >= 0, owner, matched)


def sample(
    key: Array, matched: Int[Array, " anchors"], count: int, share: float
) -> tuple[Int[Array, " count"], Bool[Array, " count"]]:
    """Chooses by chance which anchors are learnt from.

    Those with an object come first, as many as there are but not more than their share;
    those without one follow.

    Args:
      key: of the choice.
      matched: as `match_anchors` returns it.
      count: how many anchors are chosen, if there are as many.
      share: the largest part of them that have an object.

    Returns:
      Their indices, and which of them are valid.

    Source: Ren et al., 2015, https://arxiv.org/abs/1506.01497, section 3.1.3.
    """
    count = min(count, len(matched))
    chance = jax.random.uniform(key, matched.shape)
    found = jnp.where(matched >= 0, chance, -1.0)
    last = jax.lax.top_k(found, max(1, int(share * count)))[0][-1]
    rank = jnp.where(matched == NO_OBJECT, chance, -1.0)
    rank = jnp.where((found >= 0) & (found >= last), 2.0, rank)
    ranks, indices = jax.lax.top_k(rank, count)
    return indices, ranks >= 0


def hard_negatives(
    losses: Float[Array, " anchors"], matched: Int[Array, " anchors"], ratio: int
) -> Bool[Array, " anchors"]:
    """Returns which anchors without an object have the largest losses.

    They are `ratio` times as many as there are anchors with one.

    Source: Liu et al., 2016, https://arxiv.org/abs/1512.02325, section 2.2.
    """
    count = ratio * jnp.sum(matched >= 0)
    order = jnp.argsort(-jnp.where(matched == NO_OBJECT, losses, -jnp.inf))
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    return (matched == NO_OBJECT) & (rank < count)
