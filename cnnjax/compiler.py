"""What XLA is told when cnnjax compiles a whole program."""

import functools

import jax


# As measured with jaxlib 0.10.2: `docs/inference.md`.
_OPTIONS: dict[str, dict[str, str | int]] = {
    "cpu": {
        # By default products and sums are fused by YNNPACK, which is slower here.
        "xla_cpu_experimental_ynn_fusion_type": "",
        # Vectors as wide as AVX-512's, where there is that; by default half of it.
        "xla_cpu_prefer_vector_width": 512,
    }
}


def options() -> dict[str, str | int]:
    """Returns the fastest `compiler_options` of `jax.jit`, for programs of this library.

    They are those of the default platform that the installed XLA knows. JAX takes them
    for a function that is not called inside another compiled one.

    >>> jax.jit(jnp.sin, compiler_options=options())(0.0).item()
    0.0
    """
    platform = jax.default_backend()
    return {k: v for k, v in _OPTIONS.get(platform, {}).items() if _known(k, v)}


@functools.cache
def _known(name: str, value: str | int) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:  # It is an experiment: others may not have it.
        return False
    return True
