"""What XLA is told when cnnjax compiles a whole program."""

import functools

import jax


# By default jaxlib (0.10.2) hands products and sums to YNNPACK. What that fuses costs a
# fifth to a half of a network's time here; XLA's own products and loops are faster.
_OPTIONS = {"cpu": {"xla_cpu_experimental_ynn_fusion_type": ""}}


def options() -> dict[str, str]:
    """Returns the fastest `compiler_options` of `jax.jit`, for programs of this library.

    They are those of the default platform that the installed XLA knows. JAX takes them
    for a function that is not called inside another compiled one.

    >>> jax.jit(jnp.sin, compiler_options=options())(0.0).item()
    0.0
    """
    platform = jax.default_backend()
    return {k: v for k, v in _OPTIONS.get(platform, {}).items() if _known(k, v)}


@functools.cache
def _known(name: str, value: str) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:  # It is an experiment: others may not have it.
        return False
    return True
