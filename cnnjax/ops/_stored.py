"""Stores what is read again, which XLA would compute again on CPUs.

XLA's CPU backend (jax 0.10.2) computes elementwise operations anew for each of their
readers, divisions excepted, and barriers are gone before it comes to that. The sums
around a network's blocks, each from the one before, it computes from the first one
wherever one is read. So what many read is divided by one: in training what convolutions
read and the ends of blocks, in inference what a product and something else read, and in
both what large depthwise kernels return, and the tiles of Winograd's filtering.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


@jax.custom_jvp
def stored(x: Array) -> Array:
    """Returns floating numbers as they are; in training they are computed once.

    Args:
      x: of any shape.

    Returns:
      The same. It raises nothing.
    """
    return x


@stored.defjvp
def _stored_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return stored_p.bind(*primals), *tangents


def _stored_on_cpu(x: Array) -> Array:
    # XLA does not know that this is one. LLVM does: the division costs nothing.
    bits = lax.bitcast_convert_type(x, jnp.dtype(f"int{8 * x.dtype.itemsize}"))
    return x / ((bits | 1) & 1).astype(x.dtype)


stored_p = Primitive("cnnjax_stored")
stored_p.def_impl(lambda x: x)
stored_p.def_abstract_eval(lambda x: x)
ad.deflinear2(stored_p, lambda g, _: [g])
batching.defvectorized(stored_p)
for platform, way in ((None, lambda x: x), ("cpu", _stored_on_cpu)):
    rule = mlir.lower_fun(way, multiple_results=False)
    mlir.register_lowering(stored_p, rule, platform=platform)
