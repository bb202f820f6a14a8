"""What XLA is told when a model is compiled for inference."""

import functools

import jax


# Chosen with jaxlib 0.10.2. Not for training, whose many sums YNNPACK is fast in.
_OPTIONS: dict[str, dict[str, str | bool]] = {
    "cpu": {
        # By default YNNPACK has products and sums; XLA's own are faster.
        "xla_cpu_experimental_ynn_fusion_type": "",
        # Vectors as wide as AVX-512's, where there is that; by default half of it.
        "xla_cpu_prefer_vector_width": "512",
    }
}


def compiler_options() -> dict[str, str | bool]:
    """Returns those of `jax.jit` that are fastest on the default platform.

    What the installed XLA does not know is left out: these are no promises of JAX.
    """
    wanted = _OPTIONS.get(jax.default_backend(), {})
    return {name: value for name, value in wanted.items() if _known(name, value)}


@functools.cache
def _known(name: str, value: str | bool) -> bool:
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options={name: value})
    except jax.errors.JaxRuntimeError:
        return False
    return True
