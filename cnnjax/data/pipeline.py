"""Batches on the host: a stream to train on, and a pass that counts each image once."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import grain
import numpy as np

from cnnjax.data import transforms
from cnnjax.data.augment import jointly
from cnnjax.data.detection import DetectionSource
from cnnjax.data.sources import Source


# Half of the cores: they hold Python's lock in turns, and XLA needs cores on a CPU.
_READ_OPTIONS = grain.ReadOptions(
    num_threads=max(1, (os.cpu_count() or 1) // 2), prefetch_buffer_size=16
)

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def train_batches(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    seed: int,
    start_step: int = 0,
    augment: Augmentation | None = None,
    augment_bytes: Augmentation | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Streams shuffled, augmented batches without end.

    The i-th image of the stream is a function of the seed and i alone, so neither
    prefetching nor the number of processes changes what is trained on: each batch is
    cut into as many parts, one after the other. A run goes on with another number of
    processes where it was, from the number of steps alone.

    Args:
      source: the images or clips.
      batch_size: images per batch, over all processes.
      image_size: side of the images, in pixels.
      seed: seed of the order, which differs in each epoch, and of the augmentation.
      start_step: how many batches to leave out, since a run has seen them.
      augment: what happens to each normalised image, given a generator of its own. If
        images have label maps or objects, it needs a method `joint`, as most of those
        of `cnnjax.data` do. It is given a clip as a whole: [t, s, s, c].
      augment_bytes: what happens to it before, as it was stored; likewise.
      process_index: which of the processes this is.
      process_count: how many processes share each batch.

    Returns:
      An iterator over {"image": float32 [n, s, s, c], "label": int32 [n]}, with
      n = batch_size / process_count. Images are the squares in the middle. Clips are
      [n, t, s, s, c]; labels per pixel [n, s, s], or IGNORE_LABEL.

      Of a `DetectionSource`, the label is the dict of its arrays, stacked: [n, m, ...].
      The longer side of an image is s pixels long; below or on the right of it are
      zeros. Boxes are in pixels of that image. The dict has one more array, "sizes":
      int32 [n, 2], rows and columns of what is not filled up.

    Raises:
      TypeError: from the iterator, if an augmentation cannot move label maps, or
        objects.
    """

    def prepare(example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        image, label = example["image"], example["label"]
        image, label = _changed(augment_bytes, image, label, rng)
        image, label = _prepared(image, label, 1.0, image_size)
        image, label = _changed(augment, image, label, rng)
        return _finished(image, label, image_size)

    stream = (
        grain.MapDataset.source(source)
        .seed(seed)
        .shuffle()
        .repeat(2**31)  # Without a number, Grain 0.2.18 fails on batches of one.
        .random_map(prepare)
        .batch(batch_size // process_count)[process_index::process_count][start_step:]
    )
    return iter(stream.to_iter_dataset(_READ_OPTIONS))


def _changed(
    augment: Augmentation | None,
    image: np.ndarray,
    label: Any,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Any]:
    """Returns an example after an augmentation, which its label follows."""
    if augment is None:
        return image, label
    if isinstance(label, np.ndarray | dict):
        return jointly(augment, image, label, rng)
    return augment(image, rng), label


def _prepared(
    image: np.ndarray, label: Any, crop: float, size: int
) -> tuple[np.ndarray, Any]:
    """Returns an example's middle at one size, or all of it, normalised."""
    if isinstance(label, dict):
        image, label = transforms.fit(image, label, size)
        return transforms.normalise(image), label
    image = transforms.resize(transforms.centre(image, crop), size)
    if isinstance(label, np.ndarray):
        middle = transforms.centre(label[..., None], crop)
        label = transforms.resize(middle, size, labels=True)[..., 0]
    return transforms.normalise(image), label


def _finished(image: np.ndarray, label: Any, size: int) -> dict[str, Any]:
    """Returns what a batch has of an example."""
    if isinstance(label, dict):
        image, label = transforms.fill_up(image, label, size)
        return {"image": image, "label": label}
    return {"image": image, "label": np.asarray(label, np.int32)}


def _blank(value: Any) -> Any:
    """Returns zeros for an array, or for each of a dict."""
    if isinstance(value, dict):
        return {key: _blank(array) for key, array in value.items()}
    return np.zeros_like(value)


@dataclasses.dataclass(frozen=True)
class _Padded:
    """The images once each, prepared, then masked blanks up to a round length."""

    source: Source
    image_size: int
    crop: float
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        real = index < len(self.source)
        example = self.source[index if real else 0]
        image, label = _prepared(
            example["image"], example["label"], self.crop, self.image_size
        )
        example = _finished(image, label, self.image_size)
        if not real:
            example = _blank(example)
        return example | {"mask": np.bool_(real)}


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    crop: float = 1.0,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.IterDataset:
    """Goes through the images once, in order, without augmentation.

    Args:
      source: the images or clips.
      batch_size: images per batch, over all processes.
      image_size: side of the images, in pixels.
      crop: the share of the shorter side that is looked at, in the middle.
      process_index: which of the processes this is.
      process_count: how many processes share each batch.

    Returns:
      An iterable over {"image": float32 [n, s, s, c], "label": int32 [n], "mask":
      bool [n]}, with n = batch_size / process_count; clips, labels per pixel and
      objects as of `train_batches`. The last batch is filled up with images whose mask
      is false, so all batches have one shape and all processes as many of them.

    Raises:
      ValueError: if images with objects are to be cropped.
    """
    if crop != 1.0 and isinstance(source, DetectionSource):
        raise ValueError(f"images with objects are looked at as a whole, not {crop=}")
    length = -(-len(source) // batch_size) * batch_size
    return (
        grain.MapDataset.source(_Padded(source, image_size, crop, length))
        .batch(batch_size // process_count)
        .slice(slice(process_index, None, process_count))
        .to_iter_dataset(_READ_OPTIONS)
    )
