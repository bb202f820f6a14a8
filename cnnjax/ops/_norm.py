"""Batch normalisation, with the running averages of PyTorch and of Flax."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cnnjax.ops._check import check, check_floating
from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray, accumulator


Statistics = tuple[Float[Array, " c"], Float[Array, " c"]]


def batch_statistics(x: AnyArray) -> Statistics:
    """Returns each channel's mean and (biased) variance over all else, in float32.

    `mean = sum_i x_i / N` and `variance = sum_i (x_i - mean)^2 / N`

    >>> [s.item() for s in batch_statistics(jnp.array([[1.0], [3.0]]))]
    [2.0, 1.0]

    Args:
      x: [..., c].

    Returns:
      Mean and variance, [c] each (float64 for x of float64).

    Raises:
      ValueError: if x has no channels' axis.

    Source: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167, algorithm 1.
    """
    check(x.ndim > 0, f"x must be [..., c], not of shape {x.shape}")
    return _batch_statistics(x)


@named
def _batch_statistics(x):
    x = x.astype(accumulator(x.dtype))
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

    Source: PyTorch's `BatchNorm2d` and Flax's `nn.BatchNorm`; Ioffe and Szegedy, 2015,
    https://arxiv.org/abs/1502.03167, section 3.1.
    """
    check(convention in ("torch", "flax"), f"convention {convention!r}: torch or flax")
    if convention == "torch":
        check(count > 1, f"the unbiased variance needs more values than {count}")
    return _update_statistics(
        running, batch, count=count, momentum=momentum, convention=convention
    )


@named
def _update_statistics(running, batch, *, count, momentum, convention):
    mean, variance = batch
    if convention == "torch":
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
      ValueError: if a parameter is not [c], or x is of integers.

    Source: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167.
    """
    mean, variance = statistics
    shapes = [value.shape for value in (mean, variance, scale, bias)]
    check(
        all(shape == x.shape[-1:] for shape in shapes),
        f"mean, variance, scale and bias of x {x.shape} must be [c], not {shapes}",
    )
    check_floating(x)
    return _batch_norm(x, statistics, scale, bias, epsilon=epsilon)


@named
def _batch_norm(x, statistics, scale, bias, *, epsilon):
    # Half precision is normalised in single, and whatever the parameters are in.
    kinds = (x, *statistics, scale, bias)
    dtype = max((accumulator(kind.dtype) for kind in kinds), key=lambda d: d.itemsize)
    mean, variance, scale, bias = (
        parameter.astype(dtype) for parameter in (*statistics, scale, bias)
    )
    factor = scale * lax.rsqrt(variance + epsilon)
    axes = tuple(range(x.ndim - 1))
    y = (x.astype(dtype) - lax.expand_dims(mean, axes)) * lax.expand_dims(factor, axes)
    return (y + lax.expand_dims(bias, axes)).astype(x.dtype)
