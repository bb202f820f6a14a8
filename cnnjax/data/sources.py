"""Image classification data sets by their TFDS name, read without TensorFlow."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds

from cnnjax import errors
from cnnjax.data import digits


CACHE_BYTES = 2**28  # Decoded CIFAR takes 2 ** 27.2 bytes; ImageNet is far above.


@dataclasses.dataclass(frozen=True)
class ImageSource:
    """Random access to one split of an image classification data set.

    Indexing decodes one example: {"image": uint8 [h, w, c], "label": int}. A broken
    example raises a UserError that names its index.

    Attributes:
      name: the data set and split, for messages.
      examples: what TFDS reads.
      image_shape: (height, width, channels); None where it varies.
      class_names: one per label.
    """

    name: str
    examples: Sequence[Any] = dataclasses.field(repr=False)
    image_shape: tuple[int | None, int | None, int]
    class_names: Sequence[str]
    _decoded: dict[int, dict[str, Any]] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        index = int(index)
        if not 0 <= index < len(self):
            raise IndexError(f"no image {index} in {self.name}, which has {len(self)}")
        if index in self._decoded:
            return self._decoded[index]
        example = self._decode(index)
        # Decoding costs more than augmenting; a small set is decoded only once.
        if len(self) * example["image"].nbytes <= CACHE_BYTES:
            self._decoded[index] = example
        return example

    def _decode(self, index: int) -> dict[str, Any]:
        where = f"image {index} of {self.name}"
        try:
            example = self.examples[index]
            image, label = np.asarray(example["image"]), int(example["label"])
        except Exception as error:  # Whatever a decoder or reader makes of bad bytes.
            raise errors.UserError(
                f"{where} cannot be read: {type(error).__name__}: {error}".splitlines()[
                    0
                ]
            ) from error
        if image.ndim != 3 or image.size == 0 or image.dtype != np.uint8:
            raise errors.UserError(
                f"{where} is no image: shape {image.shape}, type {image.dtype}"
            )
        if not 0 <= label < len(self.class_names):
            raise errors.UserError(
                f"{where} has label {label}; there are {len(self.class_names)} classes"
            )
        return {"image": image, "label": label}


def default_data_dir() -> Path:
    """Returns the folder of prepared data sets: `cnnjax` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cnnjax")


def load(name: str, split: str, data_dir: Path | None = None) -> ImageSource:
    """Opens a split of a data set, preparing it first if it is `digits`.

    Args:
      name: TFDS's name, e.g. "digits", "cifar10" or "imagenet2012".
      split: TFDS's split, e.g. "train", "train[:90%]" or "train+validation[20:]".
      data_dir: where prepared data sets live; default: `default_data_dir()`.

    Returns:
      The examples, in the order in which TFDS stores them.

    Raises:
      UserError: if the data set or split does not exist, is not prepared in a format
        that can be read without TensorFlow, or has no images with labels.
    """
    data_dir = data_dir or default_data_dir()
    if name == digits.Digits.name:
        try:
            digits.prepare(data_dir)
        except OSError as error:
            raise errors.UserError(
                f"cannot write the data set {name!r} to {data_dir}: {error.strerror}; "
                "choose another folder with --data-dir"
            ) from error
    builder = _builder(name, data_dir)
    info: Any = builder.info
    features = dict(info.features.items())  # Those of a data set are always named.
    image, label = features.get("image"), features.get("label")
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
    ):
        raise errors.UserError(
            f"data set {name!r} is not image classification: its features are "
            f"{', '.join(sorted(features))}; it needs 'image' and 'label'"
        )
    try:
        examples: Any = builder.as_data_source(split=split)  # pyright: ignore
    except Exception as error:  # TFDS raises another type for each of these.
        raise _unreadable(builder, split, data_dir) from error
    return ImageSource(
        name=f"{name}/{split}",
        examples=examples,
        image_shape=info.features["image"].shape,
        class_names=info.features["label"].names,
    )


def _builder(name: str, data_dir: Path) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # Of another type for each thing that can be wrong.
        known = tfds.list_builders(with_community_datasets=False)
        if re.split("[/:]", name)[0] not in known:
            raise errors.unknown("data set", name, known) from error
        reason = str(error).splitlines()[0]
        raise errors.UserError(f"cannot open data set {name!r}: {reason}") from error


def _unreadable(
    builder: tfds.core.DatasetBuilder, split: str, data_dir: Path
) -> errors.UserError:
    """Returns the error that says why a split of a known data set cannot be read."""
    file_format = builder.info.file_format
    if not builder.is_prepared():
        found = "is not prepared"
    elif file_format and file_format != tfds.core.FileFormat.ARRAY_RECORD:
        found = f"is prepared as {file_format.value}, which only TensorFlow reads,"
    else:
        known = ", ".join(builder.info.splits)
        return errors.UserError(
            f"data set {builder.name!r} has no split {split!r}; there are {known}"
        )
    command = (
        f"import tensorflow_datasets as tfds; tfds.builder('{builder.name}', "
        f"data_dir='{data_dir}', file_format='array_record').download_and_prepare()"
    )
    return errors.UserError(
        f"data set {builder.name!r} {found} in {data_dir}; to prepare it (this needs "
        f"TensorFlow): pip install 'cnnjax[tf]' && python -c \"{command}\""
    )
