"""What machines can do at best: as published, and this one as measured."""

import dataclasses
import os
import platform
import time
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from cnnjax import errors


@dataclasses.dataclass(frozen=True)
class Device:
    """A machine's limits, of one chip.

    Attributes:
      name: as in `DEVICES`.
      peak: operations per second of matrix products, by the dtype of the arrays; a
        multiply-accumulate is two.
      bandwidth: bytes per second to and from the main memory.
      memory: bytes of it; 0 if unknown.
      interconnect: bytes per second that it sends to other chips, over all its links
        together; 0 if unknown.
      source: where the figures stand.
    """

    name: str
    peak: Mapping[str, float]
    bandwidth: float
    memory: int
    interconnect: float
    source: str

    def peak_of(self, dtype: str) -> float:
        """Returns the peak for arrays of a dtype.

        Raises:
          UserError: if it is not known.
        """
        if dtype not in self.peak:
            raise errors.unknown(f"dtype of products on {self.name}", dtype, self.peak)
        return self.peak[dtype]


def _tpu(name, bfloat16, int8, bandwidth, memory, interconnect, source) -> Device:
    # JAX's default precision computes products of float32 arrays in one bfloat16 pass.
    peak = {"float32": bfloat16, "bfloat16": bfloat16, "int8": int8}
    peak = {dtype: tera * 1e12 for dtype, tera in peak.items()}
    size, links = memory * 2**30, interconnect * 1e9
    return Device(name, peak, bandwidth * 1e9, size, links, source)


def _gpu(name, tf32, half, int8, bandwidth, memory, source) -> Device:
    # JAX's default precision computes products of float32 arrays in TF32.
    peak = {"float32": tf32, "bfloat16": half, "float16": half, "int8": int8}
    peak = {dtype: tera * 1e12 for dtype, tera in peak.items()}
    return Device(name, peak, bandwidth * 1e9, memory * 10**9, 0.0, source)


_TPU = "https://cloud.google.com/tpu/docs/"
_NVIDIA = "https://www.nvidia.com/en-us/data-center/"
DEVICES = {
    device.name: device
    for device in (
        # The links' published figures count both directions; these are half of them.
        _tpu("tpu_v4", 275, 275, 1228, 32, 0, f"{_TPU}v4"),
        _tpu("tpu_v5e", 197, 393, 819, 16, 200, f"{_TPU}v5e"),
        _tpu("tpu_v5p", 459, 918, 2765, 95, 600, f"{_TPU}v5p"),
        _tpu("tpu_v6e", 918, 1836, 1638, 32, 400, f"{_TPU}v6e"),
        # SXM modules, without the doubling by sparsity.
        _gpu("a100", 156, 312, 624, 2039, 80, f"{_NVIDIA}a100"),
        _gpu("h100", 494.7, 989.4, 1978.9, 3350, 80, f"{_NVIDIA}h100"),
        _gpu("h200", 494.7, 989.4, 1978.9, 4800, 141, f"{_NVIDIA}h200"),
    )
}


# What JAX calls them, the longer names first.
_KINDS = {
    "TPU v4": "tpu_v4",
    "TPU v5 lite": "tpu_v5e",
    "TPU v5e": "tpu_v5e",
    "TPU v5": "tpu_v5p",
    "TPU v6": "tpu_v6e",
    "NVIDIA A100": "a100",
    "NVIDIA H100": "h100",
    "NVIDIA H200": "h200",
}


def peak_here(dtype: str) -> float | None:
    """Returns the operations per second of all devices of JAX together.

    Args:
      dtype: of the arrays.

    Returns:
      The sum of the published peaks, or what this CPU was measured to do; None if
      the device, or the dtype on it, is not known.
    """
    devices = jax.devices()
    if devices[0].platform == "cpu":  # However many devices it pretends to be.
        device, count = measure_cpu(), 1
    else:
        names = [
            name
            for kind, name in _KINDS.items()
            if devices[0].device_kind.startswith(kind)
        ]
        device, count = DEVICES[names[0]] if names else None, len(devices)
    if device is None or dtype not in device.peak:
        return None
    return device.peak[dtype] * count


def find_device(name: str) -> Device:
    """Returns a device by name; "cpu" is this machine's, measured on the spot.

    Raises:
      UserError: if there is none of that name.
    """
    if name == "cpu":
        return measure_cpu()
    if name not in DEVICES:
        raise errors.unknown("device", name, [*DEVICES, "cpu"])
    return DEVICES[name]


def measure_cpu(seconds: float = 0.2) -> Device:
    """Measures the cores that JAX may use: a large product, and a large sum of arrays.

    Args:
      seconds: how long each is repeated; the best run counts.
    """
    cpu = jax.devices("cpu")[0]
    with jax.default_device(cpu):
        products = {
            dtype: _best(
                jax.jit(jnp.matmul), [jnp.ones((1024,) * 2, dtype)] * 2, seconds
            )
            for dtype in ("float32", "bfloat16", "float16")
        }
        line = jnp.ones(2**25)  # 128 MiB: larger than caches.
        added = _best(jax.jit(jnp.add), (line, line), seconds)
    peak = {dtype: 2 * 1024**3 / time for dtype, time in products.items()}
    name = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    source = "measured: a product of 1024 x 1024, a sum of two arrays of 128 MiB"
    return Device(name, peak, 3 * line.nbytes / added, 0, 0.0, source)


def _best(function, arguments, seconds: float) -> float:
    jax.block_until_ready(function(*arguments))
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or not times:
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)
