"""Integer labels as shares of the classes, and what is wrong with them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from cnnjax.ops._check import check
from cnnjax.ops._spec import AnyArray, accumulator


def in_single(logits: AnyArray) -> Array:
    """Returns floating logits in float32, or in float64 if they are.

    Raises:
      ValueError: for integers.
    """
    logits = jnp.asarray(logits)
    check(
        jnp.issubdtype(logits.dtype, jnp.floating),
        f"logits must be of a floating dtype, not {logits.dtype}",
    )
    return logits.astype(accumulator(logits.dtype))


def shares_of(
    logits: AnyArray, labels: AnyArray, ignore_index: int | None = None
) -> tuple[Float[Array, "*n classes"], Bool[Array, "*n"]]:
    """Returns one-hot labels, and which of them count.

    Args:
      logits: [*n, classes]; with one channel, there are two classes.
      labels: integers [*n].
      ignore_index: the label of what does not count; it may be a class or none.

    Returns:
      Shares [*n, classes] of the logits' dtype, 0 where they do not count and NaN where
      a label is no class; and whether they count [*n].

    Raises:
      ValueError: if the shapes do not fit, labels are no integers, or one of them is no
        class (not inside `jit`, where only shapes are known).
    """
    labels = jnp.asarray(labels)
    check(
        jnp.issubdtype(labels.dtype, jnp.integer),
        f"labels must be integers here, not {labels.dtype}",
    )
    check(
        logits.shape[:-1] == labels.shape,
        f"labels of shape {labels.shape} do not fit logits of shape {logits.shape}: "
        f"they must be {logits.shape[:-1]}",
    )
    labels = labels.astype(jnp.int32)  # One of uint8 is never equal to -1.
    num_classes = max(2, logits.shape[-1])
    counts = jnp.ones(labels.shape, bool)
    if ignore_index is not None:
        counts = labels != ignore_index
    outside = counts & ((labels < 0) | (labels >= num_classes))
    if not isinstance(outside, Tracer) and outside.any():
        found = np.unique(np.asarray(labels)[np.asarray(outside)])[:5].tolist()
        raise ValueError(
            f"labels must be classes from 0 to {num_classes - 1}"
            + ("" if ignore_index is None else f", or {ignore_index} to be ignored")
            + f"; there are {found}"
        )
    shares = jax.nn.one_hot(labels, num_classes, dtype=logits.dtype)
    shares = jnp.where(counts[..., None], shares, 0)
    return jnp.where(outside[..., None], jnp.nan, shares), counts
