"""Batch normalisation, with the running averages of PyTorch and of Flax."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cnnjax.ops._check import check
from cnnjax.ops._spec import AnyArray


Statistics = tuple[Float[Array, " c"], Float[Array, " c"]]


def batch_statistics(x: AnyArray) -> Statistics:
    """Returns mean and (biased) variance [c] of each channel of x [..., c], in float32.

    Source: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167, algorithm 1.
    """
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes)
    return mean, jnp.mean(jnp.square(x - lax.expand_dims(mean, axes)), axes)


def update_statistics(
    running: Statistics,
    batch: Statistics,
    count: int,
    momentum: float,
    convention: str,
) -> Statistics:
    """Moves running statistics towards a batch's.

    PyTorch: `running + momentum (batch - running)`, with the unbiased variance
    `count / (count - 1) var`. Flax: `momentum running + (1 - momentum) batch`, with the
    biased one.

    >>> one = jnp.ones(1)
    >>> mean, variance = update_statistics((one, one), (one, one), 2, 0.1, "torch")
    >>> round(variance.item(), 2)
    1.1

    Args:
      running: mean and variance [c] so far.
      batch: mean and variance of `batch_statistics`.
      count: how many values each of the batch's statistics is over.
      momentum: 0.1 in PyTorch means what 0.9 means in Flax.
      convention: "torch" or "flax".

    Returns:
      The new mean and variance.

    Raises:
      ValueError: for another convention, or PyTorch's with a count below 2.
    """
    check(convention in ("torch", "flax"), f"convention {convention!r}: torch or flax")
    mean, variance = batch
    if convention == "torch":
        check(count > 1, f"the unbiased variance needs more values than {count}")
        variance = variance * (count / (count - 1))
        momentum = 1 - momentum
    return (
        momentum * running[0] + (1 - momentum) * mean,
        momentum * running[1] + (1 - momentum) * variance,
    )


def batch_norm(
    x: AnyArray,
    statistics: Statistics,
    scale: AnyArray,
    bias: AnyArray,
    epsilon: float = 1e-5,
) -> Float[Array, "..."]:
    """Normalises channels: `(x - mean) / sqrt(variance + epsilon) scale + bias`.

    Args:
      x: [..., c].
      statistics: mean and variance [c]: the batch's in training, else running ones.
      scale, bias: [c].
      epsilon: keeps the root away from 0.

    Returns:
      [..., c], of x's dtype.

    Raises:
      ValueError: if a parameter is not [c].

    Source: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167.
    """
    mean, variance = statistics
    shapes = [value.shape for value in (mean, variance, scale, bias)]
    check(
        all(shape == x.shape[-1:] for shape in shapes),
        f"mean, variance, scale and bias of x {x.shape} must be [c], not {shapes}",
    )
    factor = scale * lax.rsqrt(variance + epsilon)
    axes = tuple(range(x.ndim - 1))
    y = (x - lax.expand_dims(mean, axes)) * lax.expand_dims(factor, axes)
    return jnp.asarray(y + lax.expand_dims(bias, axes), x.dtype)
