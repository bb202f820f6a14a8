"""Scikit-learn's 1,797 handwritten digits as a TFDS data set, made without a download.

The images are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak, 1998, https://doi.org/10.24432/C50P49), 8x8 pixels with 17 grey levels.
The splits follow the original order, in which writers are grouped: the test split
holds writers that the training split does not, so it is harder than a random one.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


SPLITS = {
    "train": slice(0, 1297),
    "validation": slice(1297, 1437),
    "test": slice(1437, 1797),
}


class Digits(tfds.core.GeneratorBasedBuilder):
    """Digits 0 to 9 in their original order: 1,297 train, 140 validation, 360 test."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # Nothing to download: scikit-learn ships the images.
        return {name: self._generate_examples(part) for name, part in SPLITS.items()}

    def _generate_examples(self, part: slice) -> Iterator[tuple[int, dict[str, Any]]]:
        from sklearn.datasets import load_digits  # A second to import, needed once.

        digits: Any = load_digits()
        images = np.round(digits.images[part] * (255 / 16)).astype(np.uint8)
        for i, (image, label) in enumerate(
            zip(images, digits.target[part], strict=True)
        ):
            # As a PIL image: TFDS would encode an array with TensorFlow.
            yield i, {"image": Image.fromarray(image), "label": int(label)}


def prepare(data_dir: Path) -> None:
    """Writes the data set below data_dir unless it is there already.

    Safe against other processes that do the same at the same time, and against being
    killed: the files are made in a folder of their own and appear by one rename.

    Args:
      data_dir: where TFDS data sets live; created if needed.

    Raises:
      OSError: if data_dir cannot be written to.
    """
    place = Path(Digits.name, str(Digits.VERSION))
    target = data_dir / place
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".digits-", dir=data_dir) as scratch:
        builder = Digits(data_dir=scratch, file_format="array_record")
        silence = io.StringIO()  # TFDS's progress bars, for a second of work.
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            builder.download_and_prepare()
        try:
            os.rename(Path(scratch, place), target)
        except OSError:
            if not target.exists():  # Else another process was faster: same content.
                raise
