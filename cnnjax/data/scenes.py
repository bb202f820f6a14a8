"""Scenes of scikit-learn's digits for dense prediction and video: no download.

Several handwritten digits of random size, place and colour lie on textured backgrounds
and hide parts of each other. A still has the class of each pixel, an instance number
per pixel, and boxes; a clip is labelled with how its digits move or with their number:

- `scenes` (the first, in full `scenes/dense`): 64 pixels, digits on about 18 % of them;
- `scenes/sparse`: 64 pixels, one small digit on about 1 % of them;
- `scenes/large`: 128 pixels, up to ten digits;
- `scenes/clips`: 8 grey frames, in which all digits drift one way, which is the label;
- `scenes/counts`: 8 grey frames, in which digits bounce off the sides and pass before
  each other; the label is how many there are.

An example is a function of the data set's name, its split and its number alone. The
splits draw from those of `cnnjax.data.digits`: a digit of one is in no other.
"""

import dataclasses
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, UInt8

from cnnjax.data import _drawing, _embedded
from cnnjax.data.clips import Clips, Counts
from cnnjax.data.digits import SPLITS


DIGITS = [str(digit) for digit in range(10)]
MAX_OBJECTS = 10

_VISIBLE = 0.9  # The least share of a digit that later ones leave to be seen.
_TRIES = 100  # To find places for the digits of a still.


@dataclasses.dataclass(eq=False)
class Stills(tfds.core.BuilderConfig):
    """Images with a class and an instance per pixel, and boxes.

    Attributes:
      size: rows and columns of an image.
      sides: the least and the largest side of a digit's square, in pixels.
      counts: the least and the largest number of digits.
      examples: how many images each split has.
    """

    size: int = 64
    sides: tuple[int, int] = (18, 28)
    counts: tuple[int, int] = (4, 6)
    examples: tuple[int, int, int] = (2000, 200, 300)

    def features(self) -> dict[str, Any]:
        """Returns what TFDS stores of an image."""
        shape = (self.size, self.size, 1)
        classes = ["background", *DIGITS]
        return {
            "image": tfds.features.Image(shape=(self.size, self.size, 3)),
            "segmentation_mask": tfds.features.LabeledImage(
                labels=classes, shape=shape
            ),
            "instances": tfds.features.Image(shape=shape),
            "objects": tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "label": tfds.features.ClassLabel(names=DIGITS),
                }
            ),
        }

    def draw(
        self,
        rng: np.random.Generator,
        digits: UInt8[np.ndarray, "n 8 8"],
        labels: list[int],
    ) -> dict[str, Any]:
        """Draws an image.

        Digits lie on top of earlier ones, but leave nine tenths of each to be seen.

        Returns:
          The image; the class per pixel, 0 for the background, else the digit + 1; the
          instance per pixel, 0 for the background, else 1 for the first of the objects
          and so on; their boxes, which are those of the visible pixels, and digits.
        """
        image = _drawing.background(rng, self.size, 3)
        instances = np.zeros((self.size, self.size), np.uint8)
        count = rng.integers(*self.counts, endpoint=True)
        shown, areas = [], []
        for _ in range(_TRIES):
            if len(shown) == count:
                break
            which = rng.integers(len(digits))
            side = int(rng.integers(*self.sides, endpoint=True))
            top, left = rng.integers(self.size - side + 1, size=2)
            where = _drawing.window(self.size, side, top, left)
            stroke = _drawing.stroke(digits[which], side)
            mask = _drawing.covered(stroke)
            after = instances.copy()
            after[where] = np.where(mask, len(shown) + 1, after[where])
            visible = np.bincount(after.ravel(), minlength=len(shown) + 2)[1:]
            if (visible < _VISIBLE * np.array([*areas, mask.sum()])).any():
                continue
            instances = after
            areas.append(mask.sum())
            shown.append(labels[which])
            ink = _drawing.colour(rng, image[where][mask].mean(axis=0))
            _drawing.paint(image, where, stroke, ink)
        classes = np.array([0, *(label + 1 for label in shown)], np.uint8)[instances]
        return {
            "image": _embedded.png(_drawing.pixels(image)),
            "segmentation_mask": _embedded.png(classes[..., None]),
            "instances": _embedded.png(instances[..., None]),
            "objects": [
                {"bbox": _box(instances == i), "label": label}
                for i, label in enumerate(shown, start=1)
            ],
        }


class Scenes(tfds.core.GeneratorBasedBuilder):
    """The scenes as TFDS data sets, one per config."""

    name = "scenes"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        Stills(name="dense"),
        Stills(name="sparse", sides=(10, 14), counts=(1, 1)),
        Stills(
            name="large",
            size=128,
            sides=(24, 56),
            counts=(4, MAX_OBJECTS),
            examples=(1000, 100, 200),
        ),
        Clips(name="clips"),
        Counts(name="counts"),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config: Any = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(config.features()),
            homepage="https://doi.org/10.24432/C50P49",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # Nothing to download: scikit-learn ships the digits.
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        config: Any = self.builder_config
        digits, labels = _embedded.load_digits()
        digits, labels = digits[SPLITS[split]], labels[SPLITS[split]]
        seed = zlib.crc32(f"{config.name}/{split}".encode())
        count = config.examples[list(SPLITS).index(split)]
        for i in range(count):
            yield i, config.draw(np.random.default_rng([seed, i]), digits, labels)


def _box(mask: Bool[np.ndarray, "h w"]) -> tfds.features.BBox:
    """Returns the smallest box around a mask; the image's sides have length 1."""
    height, width = mask.shape
    rows, columns = mask.nonzero()
    return tfds.features.BBox(
        ymin=float(rows.min() / height),
        xmin=float(columns.min() / width),
        ymax=float((rows.max() + 1) / height),
        xmax=float((columns.max() + 1) / width),
    )
