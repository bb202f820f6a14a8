"""Activation functions, element by element (softmax: along an axis).

They take arrays of any shape and return arrays of the same. Only softmax has errors.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray, accumulator


_relu = named(jax.nn.relu, "relu")
_relu6 = named(jax.nn.relu6, "relu6")
_silu = named(jax.nn.silu, "silu")
_hard_sigmoid = named(jax.nn.hard_sigmoid, "hard_sigmoid")
_hard_swish = named(jax.nn.hard_swish, "hard_swish")
_softmax = named(jax.nn.softmax, "softmax")


def relu(x: AnyArray) -> Array:
    """`max(x, 0)`; its gradient at 0 is 0.

    >>> relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]

    Args:
      x: of any shape.

    Returns:
      The same shape and dtype. It raises nothing.

    Source: Nair and Hinton, 2010,
    https://www.cs.toronto.edu/~fritz/absps/reluICML.pdf.
    """
    return _relu(x)


def relu6(x: AnyArray) -> Array:
    """`min(max(x, 0), 6)`.

    >>> relu6(jnp.array([-1.0, 2.0, 7.0])).tolist()
    [0.0, 2.0, 6.0]

    Args:
      x: of any shape.

    Returns:
      The same shape and dtype. It raises nothing.

    Source: Howard et al., 2017, https://arxiv.org/abs/1704.04861.
    """
    return _relu6(x)


def gelu(x: AnyArray, approximate: bool = False) -> Array:
    """`x Phi(x) = x / 2 (1 + erf(x / sqrt(2)))`, exact unless asked.

    Phi is the normal distribution function; approximately it is all
    `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.

    Args:
      x: of any shape.
      approximate: whether to take the approximation.

    Returns:
      The same shape; integers become floating. It raises nothing.

    Source: Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415.
    """
    return _gelu(x, approximate=approximate)


@named
def _gelu(x, *, approximate):
    if approximate or not jnp.issubdtype(x.dtype, jnp.floating):
        return jax.nn.gelu(x, approximate=approximate)
    # By erf instead of erfc, as in PyTorch: less work, and within 1e-6 of max(1, |x|).
    wide = x.astype(accumulator(x.dtype))
    return (wide * (0.5 + 0.5 * lax.erf(wide * 0.5**0.5))).astype(x.dtype)


def silu(x: AnyArray) -> Array:
    """`x / (1 + exp(-x))`, also called swish.

    Args:
      x: of any shape.

    Returns:
      The same shape and dtype.

    Raises:
      TypeError: for integers.

    Source: Ramachandran et al., 2017, https://arxiv.org/abs/1710.05941.
    """
    return _silu(x)


def hard_sigmoid(x: AnyArray) -> Array:
    """`relu6(x + 3) / 6`.

    >>> hard_sigmoid(jnp.array([-4.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]

    Args:
      x: of any shape.

    Returns:
      The same shape; integers become floating. It raises nothing.

    Source: Howard et al., 2019, https://arxiv.org/abs/1905.02244.
    """
    return _hard_sigmoid(x)


def hard_swish(x: AnyArray) -> Array:
    """`x relu6(x + 3) / 6`.

    >>> hard_swish(jnp.array([0.0, 3.0, 4.0])).tolist()
    [0.0, 3.0, 4.0]

    Args:
      x: of any shape.

    Returns:
      The same shape; integers become floating. It raises nothing.

    Source: Howard et al., 2019, https://arxiv.org/abs/1905.02244.
    """
    return _hard_swish(x)


def softmax(x: AnyArray, axis: int = -1) -> Array:
    """`exp(x_i) / sum_j exp(x_j)` along an axis, without overflow.

    >>> softmax(jnp.zeros(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]

    Args:
      x: of any shape with that axis.
      axis: along which the results sum to 1.

    Returns:
      The same shape; integers become floating.

    Raises:
      ValueError: if there is no such axis.

    Source: Bridle, 1990, https://doi.org/10.1007/978-3-642-76153-9_28.
    """
    return _softmax(x, axis=axis)
