"""Kernels in fewer bits than they compute with."""

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from cnnjax import errors
from cnnjax.trees import few
from cnnjax.weights._stacking import STACKED


STORAGES = ("bfloat16", "int8")
_SCALE = ":scale"  # What the name of a kernel's scales ends with.
_LARGEST = 127  # Of int8; -128 is left out, so that what is stored is symmetric.


def compress(arrays: Mapping[str, np.ndarray], storage: str) -> dict[str, np.ndarray]:
    """Stores the kernels of convolutions and dense layers in fewer bits.

    In int8, `q = round(w / s)` with `s = max |w| / 127` of each output channel, and s
    beside it as float32. Everything else, small as it is, stays float32.

    Args:
      arrays: by path, all of them float32.
      storage: "bfloat16" or "int8".

    Returns:
      The arrays to write, which `expand` turns back.

    Raises:
      UserError: if the storage does not exist, an array is not float32, or a kernel is
        not finite.

    Source: Jacob et al., 2017, https://arxiv.org/abs/1712.05877, section 2.1, with a
    zero point of 0; per channel: Krishnamoorthi, 2018, https://arxiv.org/abs/1806.08342.
    """
    if storage not in STORAGES:
        raise errors.unknown("storage", storage, STORAGES)
    others = [p for p, a in arrays.items() if a.dtype != np.float32]
    if others:
        raise errors.UserError(
            f"storage {storage} is for float32; of another type are {few(others)}"
        )
    stored = {}
    for path, array in arrays.items():
        if not _is_kernel(path, array):
            stored[path] = array
        elif storage == "bfloat16":
            stored[path] = array.astype(ml_dtypes.bfloat16)
        else:
            largest = np.abs(array).max(_summed(path, array), keepdims=True)
            if not np.isfinite(largest).all():
                raise errors.UserError(f"{path} has numbers that are not finite")
            # The least normal number: a channel of zeros has some scale, too.
            scale = np.maximum(largest / _LARGEST, np.finfo(np.float32).tiny)
            stored[path] = np.round(array / scale).astype(np.int8)
            stored[path + _SCALE] = scale.astype(np.float32)
    return stored


def expand(arrays: Mapping[str, np.ndarray], storage: str) -> dict[str, np.ndarray]:
    """Turns what `compress` returned back into float32.

    Raises:
      UserError: if the storage does not exist, or an array is missing, or has another
        shape or type than `compress` gives it.
    """
    if storage not in STORAGES:
        raise errors.unknown("storage", storage, STORAGES)
    kind = np.int8 if storage == "int8" else ml_dtypes.bfloat16
    found = {}
    for path, array in arrays.items():
        if path.endswith(_SCALE) and storage == "int8":
            if path.removesuffix(_SCALE) not in arrays:
                raise errors.UserError(f"{path} has no kernel")
            continue
        wanted = np.dtype(kind if _is_kernel(path, array) else np.float32)
        if array.dtype != wanted:
            raise errors.UserError(f"{path} is {array.dtype} instead of {wanted}")
        found[path] = array.astype(np.float32)
        if wanted == np.int8:
            found[path] *= _scale(path, array, arrays.get(path + _SCALE))
    return found


def _scale(path: str, kernel: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    """Checks the scales of a kernel."""
    if scale is None:
        raise errors.UserError(f"{path} has no scales")
    summed = _summed(path, kernel)
    shape = tuple(1 if i in summed else n for i, n in enumerate(kernel.shape))
    if scale.dtype != np.float32 or scale.shape != shape:
        raise errors.UserError(
            f"the scales of {path} are {scale.dtype} {scale.shape} instead of float32 "
            f"{shape}"
        )
    if not np.isfinite(scale).all():
        raise errors.UserError(f"the scales of {path} are not finite")
    return scale


def _is_kernel(path: str, array: np.ndarray) -> bool:
    return path.endswith("/kernel") and array.ndim >= 2


def _summed(path: str, kernel: np.ndarray) -> tuple[int, ...]:
    """Returns the axes that share a scale: not the last, nor a loop's blocks."""
    stacked = any(map(STACKED.fullmatch, path.split("/")))
    return tuple(range(stacked, kernel.ndim - 1))
