"""What the benchmarks share: PyTorch where it is installed, the clock, the machine."""

import importlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np


os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # PyTorch's must let JAX's work.
torch: Any = importlib.import_module("torch") if find_spec("torch") else None
Run = Callable[[], Any]


def clock(
    contestants: dict[str, Run], *, rounds: int, seconds: float
) -> dict[str, float]:
    """Returns the median time of each in milliseconds, interleaved, when warm.

    Args:
      contestants: what to time, by name.
      rounds: how often, at the most.
      seconds: how long all of it may take before the rounds are cut to three.
    """
    for run in contestants.values():
        jax.block_until_ready(run())
    times = {name: [] for name in contestants}
    start = time.perf_counter()
    for i in range(rounds):
        if i >= 3 and time.perf_counter() - start > seconds:
            break
        for name, run in contestants.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in times.items()}


def machine() -> dict[str, Any]:
    """Returns what decides about the figures, besides the code."""
    packages = ("jaxlib", "flax", "optax")
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "torch": getattr(torch, "__version__", None),
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES"),
    } | {name: importlib.metadata.version(name) for name in packages}


def processor() -> str:
    """Returns the processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()
