"""Activation functions, element by element (softmax: along an axis)."""

import jax
from jaxtyping import Array

from cnnjax.ops._spec import AnyArray


def relu(x: AnyArray) -> Array:
    """`max(x, 0)`; its gradient at 0 is 0.

    Source: Nair and Hinton, 2010.
    """
    return jax.nn.relu(x)


def relu6(x: AnyArray) -> Array:
    """`min(max(x, 0), 6)`.

    Source: Howard et al., 2017, https://arxiv.org/abs/1704.04861.
    """
    return jax.nn.relu6(x)


def gelu(x: AnyArray, approximate: bool = False) -> Array:
    """`x Phi(x)` with the normal distribution function Phi, exact unless asked.

    Approximately `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.

    Source: Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415.
    """
    return jax.nn.gelu(x, approximate=approximate)


def silu(x: AnyArray) -> Array:
    """`x / (1 + exp(-x))`, also called swish.

    Source: Ramachandran et al., 2017, https://arxiv.org/abs/1710.05941.
    """
    return jax.nn.silu(x)


def hard_sigmoid(x: AnyArray) -> Array:
    """`relu6(x + 3) / 6`.

    Source: Howard et al., 2019, https://arxiv.org/abs/1905.02244.
    """
    return jax.nn.hard_sigmoid(x)


def hard_swish(x: AnyArray) -> Array:
    """`x relu6(x + 3) / 6`.

    Source: Howard et al., 2019, https://arxiv.org/abs/1905.02244.
    """
    return jax.nn.hard_swish(x)


def softmax(x: AnyArray, axis: int = -1) -> Array:
    """`exp(x_i) / sum_j exp(x_j)` along an axis, without overflow."""
    return jax.nn.softmax(x, axis=axis)
