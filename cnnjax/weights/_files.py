"""Weights from files."""

import os
from pathlib import Path
from typing import Any

from cnnjax import errors
from cnnjax.weights import _torch_file
from cnnjax.weights._convert import Variables, from_torch


def load(name: str, source: str | os.PathLike[str], **options: Any) -> Variables:
    """Reads weights of a reference implementation from a file.

    Args:
      name: a name from `cnnjax.list_models()`.
      source: a file of PyTorch's, `.pth`, `.pt` or `.bin`, of the zip format or the one
        before it. It is read without PyTorch, and nothing in it is run.
      **options: as in `from_torch`.

    Returns:
      {"params": …, "batch_stats": …} for `cnnjax.create(name, num_classes=…)`.

    Raises:
      UserError: if there is no such file, or it is damaged, holds anything but tensors,
        or other ones than the model needs.
    """
    path = Path(source)
    if not path.is_file():
        raise errors.UserError(f"there is no file {path}")
    return from_torch(name, _torch_file.load(path), **options)
