"""Scikit-learn's 1,797 handwritten digits as a TFDS data set, made without a download.

The images are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak, 1998, https://doi.org/10.24432/C50P49), 8x8 pixels with 17 grey levels.
The splits follow the original order, in which writers are grouped: the test split
holds writers that the training split does not, so it is harder than a random one.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from cnnjax.data import _embedded


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
        images, labels = _embedded.load_digits()
        for i, (image, label) in enumerate(
            zip(images[part], labels[part], strict=True)
        ):
            yield i, {"image": _embedded.png(image[..., None]), "label": label}
