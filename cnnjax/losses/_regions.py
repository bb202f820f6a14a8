"""Losses of whole regions, by how much the predicted ones overlap the true ones.

With p the probability of a class at a pixel and g whether it is the pixel's label, the
sums over pixels `I = sum p g`, `P = sum p` and `G = sum g` are all that they need. Of
several classes they take the mean over those that are in the truth: 0 where none is.

Logits of one channel are those of two classes, 0 for the background and 1 for the
foreground, which alone has a region; p is their sigmoid. An image without foreground
has a loss of 0 then, whatever is predicted; `batch=True`, or a sum with a loss of
pixels, teaches that too. More channels are classes of their own; p is their softmax.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cnnjax.losses._labels import in_single, shares_of
from cnnjax.ops._check import check
from cnnjax.ops._spec import AnyArray


def dice(
    logits: AnyArray,
    labels: AnyArray,
    *,
    ignore_index: int | None = None,
    batch: bool = False,
    epsilon: float = 1e-6,
) -> Float[Array, "*n"]:
    """`1 - 2 I / (P + G + epsilon)`, the mean over the classes that are in the truth.

    Args:
      logits: [n, ..., classes]; with one channel, of the foreground.
      labels: classes [n, ...], integers; with one channel, 1 in the foreground.
      ignore_index: the label of pixels that do not count.
      batch: whether the sums are over all images (of this device, inside `shard_map`).
      epsilon: keeps the denominator from 0.

    Returns:
      Losses [n], or one for the batch; NaN where a label is no class.

    Raises:
      ValueError: if shapes do not fit, or a known label is no class.

    Source: Milletari et al., 2016, https://arxiv.org/abs/1606.04797, without squares.
    """
    overlap, predicted, true = _sums(logits, labels, ignore_index, batch)
    return _mean(1 - 2 * overlap / (predicted + true + epsilon), true)


def tversky(
    logits: AnyArray,
    labels: AnyArray,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    ignore_index: int | None = None,
    batch: bool = False,
    epsilon: float = 1e-6,
) -> Float[Array, "*n"]:
    """`1 - I / (I + alpha (P - I) + beta (G - I) + epsilon)`, the mean over classes.

    At `alpha = beta = 1/2` it is `dice`, at 1 `jaccard`.

    Args:
      logits, labels, ignore_index, batch, epsilon: as in `dice`.
      alpha: weight of what is predicted wrongly.
      beta: weight of what is not found.

    Returns:
      Losses [n], or one for the batch; NaN where a label is no class.

    Raises:
      ValueError: if shapes do not fit, or a known label is no class.

    Source: Salehi et al., 2017, https://arxiv.org/abs/1706.05721; the weights are those
    that found most there.
    """
    overlap, predicted, true = _sums(logits, labels, ignore_index, batch)
    wrong = alpha * (predicted - overlap) + beta * (true - overlap)
    return _mean(1 - overlap / (overlap + wrong + epsilon), true)


def jaccard(
    logits: AnyArray,
    labels: AnyArray,
    *,
    ignore_index: int | None = None,
    batch: bool = False,
    epsilon: float = 1e-6,
) -> Float[Array, "*n"]:
    """`1 - I / (P + G - I + epsilon)`, the mean over classes: 1 - IoU.

    Args:
      logits, labels, ignore_index, batch, epsilon: as in `dice`.

    Returns:
      Losses [n], or one for the batch; NaN where a label is no class.

    Raises:
      ValueError: if shapes do not fit, or a known label is no class.

    Source: Rahman and Wang, 2016, https://doi.org/10.1007/978-3-319-50835-1_22.
    """
    return tversky(
        logits,
        labels,
        alpha=1.0,
        beta=1.0,
        ignore_index=ignore_index,
        batch=batch,
        epsilon=epsilon,
    )


def _sums(
    logits: AnyArray, labels: AnyArray, ignore_index: int | None, batch: bool
) -> tuple[Array, Array, Array]:
    """Returns I, P and G, each [n, classes], or [classes] for the batch."""
    check(
        logits.ndim > 2,
        f"logits must be [n, ..., classes], not of shape {logits.shape}",
    )
    logits = in_single(logits)
    shares, counts = shares_of(logits, labels, ignore_index)
    if logits.shape[-1] == 1:
        probabilities, shares = jax.nn.sigmoid(logits), shares[..., 1:]
    else:
        probabilities = jax.nn.softmax(logits)
    probabilities = jnp.where(counts[..., None], probabilities, 0)
    axes = range(0 if batch else 1, logits.ndim - 1)
    parts = (probabilities * shares, probabilities, shares)
    overlap, predicted, true = (jnp.sum(part, axis=(*axes,)) for part in parts)
    return overlap, predicted, true


def _mean(losses: Array, true: Array) -> Array:
    """Returns the mean over the classes that have pixels in the truth."""
    there = true != 0  # NaN, too, which a label that is no class has to become.
    total = jnp.sum(jnp.where(there, losses, 0), axis=-1)
    return total / jnp.maximum(jnp.sum(there, axis=-1), 1)
