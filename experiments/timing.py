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
    contestants: dict[str, Run], *, rounds: int, seconds: float, calls: int = 1
) -> dict[str, float]:
    """Returns the median time of each in milliseconds, interleaved, when warm.

    Args:
      contestants: what to time, by name.
      rounds: how often, at the most.
      seconds: how long all of it may take before the rounds are cut to three.
      calls: how many calls to dispatch at a time, whose mean counts. One call to a GPU
        takes the host longer than many an operation takes the GPU.
    """
    for run in contestants.values():
        wait_for(run())
    times = {name: [] for name in contestants}
    start = time.perf_counter()
    for i in range(rounds):
        if i >= 3 and time.perf_counter() - start > seconds:
            break
        for name, run in contestants.items():
            began, result = time.perf_counter(), None
            for _ in range(calls):
                result = run()
            wait_for(result)
            times[name].append(1e3 * (time.perf_counter() - began) / calls)
    return {name: float(np.median(values)) for name, values in times.items()}


def wait_for(result: Any) -> Any:
    """Returns JAX's or PyTorch's result, once the device has computed it."""
    if torch_device() == "cuda":
        torch.cuda.synchronize()
    return jax.block_until_ready(result)


def torch_device() -> str:
    """Returns where PyTorch has to compute, so that it has the device that JAX has."""
    return "cuda" if torch is not None and jax.default_backend() == "gpu" else "cpu"


def device() -> str:
    """Returns the name of the device, and how many cores a CPU has."""
    if jax.default_backend() == "cpu":
        return f"{processor()}, {os.cpu_count()} cores"
    return jax.devices()[0].device_kind


def machine() -> dict[str, Any]:
    """Returns what decides about the figures, besides the code."""
    packages = ("jaxlib", "flax", "optax")
    return {
        "device": jax.devices()[0].device_kind,
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
