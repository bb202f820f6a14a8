"""Data sets that are made here, once, from the digits that scikit-learn ships."""

import contextlib
import functools
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from PIL import Image


@functools.cache  # Reading takes a second.
def load_digits() -> tuple[UInt8[np.ndarray, "1797 8 8"], list[int]]:
    """Returns scikit-learn's digits in their original order, and what they are."""
    from sklearn import datasets  # Another second to import, needed once.

    digits: Any = datasets.load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target.tolist()


def png(image: UInt8[np.ndarray, "h w c"]) -> io.BytesIO:
    """Returns the image as a file: TFDS would encode an array with TensorFlow."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    file = io.BytesIO()
    picture.save(file, "png", compress_level=1)  # A third of the time of the default.
    file.seek(0)
    return file


def prepare(
    builder: type[tfds.core.GeneratorBasedBuilder],
    data_dir: Path,
    config: str | None = None,
) -> None:
    """Writes a data set below data_dir unless it is there already.

    Safe against other processes that do the same at the same time, and against being
    killed: the files are made in a folder of their own and appear by one rename.

    Args:
      builder: makes the data set without a download and without TensorFlow.
      data_dir: where TFDS data sets live; created if needed.
      config: which of the builder's data sets; None for its first, or only one.

    Raises:
      OSError: if data_dir cannot be written to.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    prefix = f".{builder.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=data_dir) as scratch:
        made = builder(config=config, data_dir=scratch, file_format="array_record")
        place = Path(made.data_dir)
        target = data_dir / place.relative_to(scratch)
        if target.exists():
            return
        silence = io.StringIO()  # TFDS's progress bars, for seconds of work.
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            made.download_and_prepare()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(place, target)
        except OSError:
            if not target.exists():  # Else another process was faster: same content.
                raise
