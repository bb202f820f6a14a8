"""Losses in NumPy's float64, pixel by pixel, and gradients by differences or by JAX."""

import jax
import jax.numpy as jnp
import numpy as np


def value_and_grad(loss, logits):
    """Returns the losses and the gradient of their sum, compiled."""

    def total(logits):
        values = loss(logits)
        return jnp.sum(values), values

    (_, values), grad = jax.jit(jax.value_and_grad(total, has_aux=True))(logits)
    return np.asarray(values), np.asarray(grad)


def softmax(logits):
    power = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


def cross_entropy(logits, labels, weights=None, ignore_index=None, smoothing=0.0):
    logits = np.asarray(logits, np.float64)
    classes = logits.shape[-1]
    weights = np.ones(classes) if weights is None else weights
    losses = np.zeros(labels.shape)
    for place in np.ndindex(labels.shape):
        if labels[place] == ignore_index:
            continue
        row = logits[place]
        log_p = row - row.max() - np.log(np.exp(row - row.max()).sum())
        for c in range(classes):
            share = (1 - smoothing) * (c == labels[place]) + smoothing / classes
            losses[place] -= weights[c] * share * log_p[c]
    return losses


def softmax_focal(logits, labels, alpha=None, gamma=2.0, ignore_index=None):
    losses = cross_entropy(logits, labels, alpha, ignore_index)
    p = softmax(np.asarray(logits, np.float64))
    for place in np.ndindex(labels.shape):
        if labels[place] != ignore_index:
            losses[place] *= (1 - p[(*place, labels[place])]) ** gamma
    return losses


def tversky(logits, labels, alpha, beta, ignore_index=None, epsilon=0.0):
    """Of one image, or of the pixels of a batch."""
    logits = np.asarray(logits, np.float64)
    if logits.shape[-1] == 1:
        p, classes = 1 / (1 + np.exp(-logits)), [1]
    else:
        p, classes = softmax(logits), range(logits.shape[-1])
    counts = labels != ignore_index
    losses = []
    for i, c in enumerate(classes):
        true = (labels == c) & counts
        if true.any():
            overlap = p[..., i][true].sum()
            wrong = p[..., i][counts & ~true].sum()
            missed = (1 - p[..., i][true]).sum()
            whole = overlap + alpha * wrong + beta * missed + epsilon
            losses.append(1 - overlap / whole)
    return np.mean(losses) if losses else 0.0


def gradient(function, x, step=1e-5):
    """Returns the gradient of a sum of losses by central differences."""
    x = np.asarray(x, np.float64)
    slopes = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        slopes[place] = (np.sum(function(up)) - np.sum(function(down))) / (2 * step)
    return slopes
