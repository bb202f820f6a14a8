"""Losses of every example or pixel on its own: cross-entropy and focal loss."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cnnjax.losses._labels import in_single, shares_of
from cnnjax.ops._check import check
from cnnjax.ops._spec import AnyArray


def cross_entropy(
    logits: AnyArray,
    labels: AnyArray,
    class_weights: AnyArray | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Float[Array, "*n"]:
    """`-sum_c w_c s_c log p_c` with p the softmax of the logits.

    Of an integer label y and with smoothing e, the share s_c is `(1 - e) [c = y] + e /
    classes`. As in PyTorch; but its mean over pixels divides by their weights w_y.

    Args:
      logits: [*n, classes], at least two.
      labels: classes [*n], integers; or shares of the classes [*n, classes].
      class_weights: [classes] (default: 1 each).
      ignore_index: the integer label of what does not count.
      label_smoothing: how much of each label is spread over all classes.

    Returns:
      Losses [*n], 0 where a label is ignored, NaN where it is no class.

    Raises:
      ValueError: if shapes do not fit, a known label is no class, or shares of classes
        come with an ignore_index.

    Source: class weights and smoothing as in PyTorch's `cross_entropy`; smoothing:
    Szegedy et al., 2015, https://arxiv.org/abs/1512.00567, section 7.
    """
    logits = in_single(logits)
    labels = jnp.asarray(labels)
    classes = logits.shape[-1]
    check(classes >= 2, f"logits must be of two classes or more: {logits.shape}")
    counts = None
    if jnp.issubdtype(labels.dtype, jnp.floating):
        check(
            logits.shape == labels.shape,
            f"shares of classes {labels.shape} do not fit logits {logits.shape}",
        )
        check(ignore_index is None, "shares of classes have no label to be ignored")
        shares = labels.astype(logits.dtype)
    else:
        shares, counts = shares_of(logits, labels, ignore_index)
    if label_smoothing:
        shares = optax.smooth_labels(shares, label_smoothing)
    if class_weights is not None:
        weights = jnp.asarray(class_weights, logits.dtype)
        check(
            weights.shape == (classes,),
            f"weights of shape {weights.shape} for {classes} classes",
        )
        shares = shares * jnp.broadcast_to(weights, shares.shape)
    losses = optax.softmax_cross_entropy(logits, shares)
    return losses if counts is None else jnp.where(counts, losses, 0)


def sigmoid_focal(
    logits: AnyArray,
    targets: AnyArray,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
) -> Float[Array, "*n"]:
    """`-a_t (1 - p_t)^gamma log p_t` of every logit, a yes or no of its own.

    p is the sigmoid of the logit; where the target is 1, `p_t = p` and `a_t = alpha`,
    where it is 0, `p_t = 1 - p` and `a_t = 1 - alpha`. In between, both are means, and
    `log p_t` is the mean of the logarithms.

    Args:
      logits: of any shape.
      targets: of the same shape, from 0 to 1.
      alpha: weight of what is there; None weighs nothing.
      gamma: how little of the loss is left of what is easy; at 0, all of it.

    Returns:
      Losses of the same shape.

    Raises:
      ValueError: if the shapes differ.

    Source: Lin et al., 2017, https://arxiv.org/abs/1708.02002; as torchvision's
    `sigmoid_focal_loss`. Optax's is the same by way of an array twice as large.
    """
    logits = in_single(logits)
    check(
        logits.shape == targets.shape,
        f"targets of shape {targets.shape} do not fit logits of shape {logits.shape}",
    )
    targets = jnp.asarray(targets, logits.dtype)
    missed = targets * jax.nn.sigmoid(-logits) + (1 - targets) * jax.nn.sigmoid(logits)
    losses = optax.sigmoid_binary_cross_entropy(logits, targets)
    losses *= _power(missed, gamma)
    if alpha is not None:
        losses *= alpha * targets + (1 - alpha) * (1 - targets)
    return losses


def softmax_focal(
    logits: AnyArray,
    labels: AnyArray,
    alpha: AnyArray | None = None,
    gamma: float = 2.0,
    ignore_index: int | None = None,
) -> Float[Array, "*n"]:
    """`-a_y (1 - p_y)^gamma log p_y` with p the softmax of the logits, y the label.

    Args:
      logits: [*n, classes], at least two.
      labels: classes [*n], integers.
      alpha: weights of the classes [classes] (default: 1 each).
      gamma: how little of the loss is left of what is easy; at 0, all of it, and this
        is the cross-entropy.
      ignore_index: the label of what does not count.

    Returns:
      Losses [*n], 0 where a label is ignored, NaN where it is no class.

    Raises:
      ValueError: if shapes do not fit, or a known label is no class.

    Source: Lin et al., 2017, https://arxiv.org/abs/1708.02002, for several classes.
    """
    logits = in_single(logits)
    shares, _ = shares_of(logits, labels, ignore_index)
    missed = jnp.sum((1 - shares) * jax.nn.softmax(logits), axis=-1)
    losses = cross_entropy(logits, labels, alpha, ignore_index)
    return losses * _power(missed, gamma)


def _power(missed: Array, gamma: float) -> Array:
    """Returns missed ** gamma with a finite gradient at 0, for every gamma >= 0."""
    return jnp.maximum(missed, jnp.finfo(missed.dtype).tiny) ** gamma
