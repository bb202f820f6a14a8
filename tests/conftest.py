"""Strict JAX and checked shapes for every test, on two devices of a CPU.

`JAX_PLATFORMS=cuda python -m pytest tests/ops` runs them on a GPU: see `docs/gpu.md`.
"""

import os

import jax
import jaxtyping
import pytest


os.environ.setdefault("JAX_PLATFORMS", "cpu")  # Before JAX looks for devices.
# Before anything of cnnjax is imported: every annotated shape is checked.
jaxtyping.install_import_hook("cnnjax", "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)


@pytest.fixture(autouse=True)
def quick_compilation(request):
    """Leaves most of LLVM's optimisations out: compiling is what takes a test's time.

    Not where times are compared, and not in what runs for minutes.
    """
    optimised = any(map(request.node.get_closest_marker, ("timed", "slow", "torch")))
    jax.config.update("jax_disable_most_optimizations", not optimised)


@pytest.fixture
def unchecked_shapes():
    """Leaves shapes unchecked, as users do: it takes as long as tracing."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Compiles each program once for all tests and for the processes they start."""
    folder = tmp_path_factory.mktemp("compiled")
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_NUM_CPU_DEVICES": "2",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder with the digits prepared."""
    from cnnjax import data

    folder = tmp_path_factory.mktemp("data")
    data.load("digits", "train", folder)
    return folder


@pytest.fixture(scope="session")
def few_scenes():
    """Lets each split of the scenes have few examples; returns the numbers."""
    from cnnjax.data import scenes

    numbers = {"train": 12, "validation": 3, "test": 5}
    with pytest.MonkeyPatch.context() as patch:
        for config in scenes.Scenes.BUILDER_CONFIGS:
            patch.setattr(config, "examples", tuple(numbers.values()))
        yield numbers


@pytest.fixture(scope="session")
def scenes_dir(few_scenes, tmp_path_factory):
    """A folder in which those are prepared that a test asks for."""
    return tmp_path_factory.mktemp("scenes")
