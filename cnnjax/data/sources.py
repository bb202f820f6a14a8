"""One split of a data set as a sequence of examples, each checked when it is read."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, SupportsIndex

import numpy as np

from cnnjax import errors
from cnnjax.data.transforms import IGNORE_LABEL


CACHE_BYTES = 2**28  # Decoded CIFAR takes 2 ** 27.2 bytes; ImageNet is far above.


class FaultError(Exception):
    """Says what an example has or is that it must not."""


def _num_bytes(value: Any) -> int:
    """Returns how large an array, or a dict of them, is."""
    if isinstance(value, dict):
        return sum(map(_num_bytes, value.values()))
    return np.asarray(value).nbytes


@dataclasses.dataclass(frozen=True)
class Source(abc.ABC):
    """Random access to one split of a data set.

    Indexing decodes one example: {"image": uint8, "label": integer or uint8}. A broken
    example raises a UserError that names its index.

    Attributes:
      name: the data set and split, for messages.
      examples: what TFDS reads, with whatever else it knows of an example.
      image_shape: shape of an example's image; None where it varies.
      class_names: one per label.
    """

    name: str
    examples: Sequence[Any] = dataclasses.field(repr=False)
    image_shape: tuple[Any, ...]
    class_names: Sequence[str]
    _decoded: dict[int, dict[str, Any]] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    noun: ClassVar[str] = "image"
    """What an example is called in messages."""

    @abc.abstractmethod
    def parse(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Returns the image and label of what TFDS has read.

        Raises:
          FaultError: if they are not what they should be.
        """

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = int(index)
        if not 0 <= index < len(self):
            message = f"no {self.noun} {index} in {self.name}, which has {len(self)}"
            raise IndexError(message)
        if index in self._decoded:
            return self._decoded[index]
        example = self._decode(index)
        # Decoding costs more than augmenting; a small set is decoded only once.
        if len(self) * _num_bytes(example) <= CACHE_BYTES:
            self._decoded[index] = example
        return example

    def _decode(self, index: int) -> dict[str, Any]:
        where = f"{self.noun} {index} of {self.name}"
        try:
            return self.parse(self.examples[index])
        except FaultError as fault:
            raise errors.UserError(f"{where} {fault}") from None
        except Exception as error:  # Whatever a decoder or reader makes of bad bytes.
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise errors.UserError(f"{where} cannot be read: {reason}") from error

    def _pixels(self, image: Any, ndim: int) -> np.ndarray:
        """Returns an image of so many dimensions, if it is one."""
        image = np.asarray(image)
        if image.ndim != ndim or image.size == 0 or image.dtype != np.uint8:
            raise FaultError(
                f"is no {self.noun}: shape {image.shape}, type {image.dtype}"
            )
        return image

    def _label(self, label: Any) -> int:
        """Returns the number of a class, if it is one."""
        label = int(label)
        if not 0 <= label < len(self.class_names):
            raise FaultError(
                f"has label {label}; there are {len(self.class_names)} classes"
            )
        return label


@dataclasses.dataclass(frozen=True)
class ImageSource(Source):
    """Images of one class each: {"image": uint8 [h, w, c], "label": int}."""

    def parse(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Returns the image and its class."""
        return {
            "image": self._pixels(raw["image"], 3),
            "label": self._label(raw["label"]),
        }


@dataclasses.dataclass(frozen=True)
class SegmentationSource(Source):
    """Images with a class per pixel: {"image": uint8 [h, w, c], "label": uint8 [h, w]}.

    Pixels that are not to be counted have the label `IGNORE_LABEL`, 255.

    Attributes:
      first_label: what the first class is called in the stored masks.
    """

    first_label: int = 0

    def parse(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Returns the image and the class of each pixel."""
        image = self._pixels(raw["image"], 3)
        mask = np.asarray(raw["segmentation_mask"])
        if mask.shape != (*image.shape[:2], 1) or mask.dtype != np.uint8:
            raise FaultError(
                f"has a mask of shape {mask.shape}, type {mask.dtype}; it must be "
                f"{(*image.shape[:2], 1)}, uint8, as the image is {image.shape}"
            )
        first, last = self.first_label, self.first_label + len(self.class_names) - 1
        ignored = mask == IGNORE_LABEL
        if (outside := ((mask < first) | (mask > last)) & ~ignored).any():
            raise FaultError(
                f"has label {mask[outside][0]} in its mask; there are {first} to "
                f"{last}, and {IGNORE_LABEL} for pixels to ignore"
            )
        label = np.where(ignored, IGNORE_LABEL, mask - np.uint8(first))
        return {"image": image, "label": label[..., 0]}


@dataclasses.dataclass(frozen=True)
class ClipSource(Source):
    """Clips of one class each: {"image": uint8 [t, h, w, c], "label": int}."""

    noun: ClassVar[str] = "clip"

    def parse(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Returns the frames and the class of the clip."""
        frames = self._pixels(raw["video"], 4)
        if len(frames) != self.image_shape[0]:
            raise FaultError(
                f"has {len(frames)} frames instead of {self.image_shape[0]}"
            )
        return {"image": frames, "label": self._label(raw["label"])}
