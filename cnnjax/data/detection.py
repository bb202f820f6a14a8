"""Images with boxes: padded arrays of objects, checked when they are read."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnjax import errors
from cnnjax.data.sources import FaultError, Source


@dataclasses.dataclass(frozen=True)
class DetectionSource(Source):
    """Images with a class and a box per object.

    An example is {"image": uint8 [h, w, c], "label": a dict}. The label's arrays have
    one row for each of m = `max_objects` objects; rows without an object are zeros:

    - "boxes_xyxy": float32 [m, 4], in pixels from the image's upper left corner;
    - "labels": int32 [m]; 0 is the background, which no object is;
    - "valid": bool [m], the objects that count;
    - "ignored": bool [m], those that are there but do not count: crowds, difficult
      ones, boxes without an area. No object is both;
    - "photo_areas": float32 [m], of the objects in the image as it is stored: pixels of
      their masks where the data set says so, else of their boxes;
    - "photo_sizes": int32 [2], rows and columns of the image as it is stored;
    - "masks": bool [m, h, w], if asked for.

    What is read of an image is {"image", "boxes_xyxy": [k, 4], "labels": [k],
    "ignored": [k]}, and perhaps "photo_areas": [k] and "masks": [k, h, w], for any k.

    Attributes:
      max_objects: m.
      masks: whether there are masks.
      leave_out: whether an image may have more objects. The largest that count are
        kept, then the largest of those that do not.
      left_out: how many objects of how many images are left out, for reports.
    """

    max_objects: int
    masks: bool = False
    leave_out: bool = False
    left_out: tuple[int, int] = (0, 0)

    def parse(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Returns the image and its objects."""
        image = self._pixels(raw["image"], 3)
        boxes = np.asarray(raw["boxes_xyxy"], np.float64).reshape(-1, 4)
        boxes = _inside(boxes, image.shape)
        labels = np.array([self._label(label) for label in raw["labels"]], np.int32)
        if not labels.all():
            raise FaultError("has an object of label 0, which is the background")
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        ignored = np.asarray(raw["ignored"], bool)
        rows: dict[str, np.ndarray] = {
            "boxes_xyxy": boxes.astype(np.float32),
            "labels": labels,
            "ignored": ignored,
            "photo_areas": np.asarray(raw.get("photo_areas", areas), np.float32),
        }
        if self.masks:
            rows["masks"] = np.asarray(raw["masks"], bool)
            if rows["masks"].shape != (expected := (len(boxes), *image.shape[:2])):
                raise FaultError(
                    f"has masks of shape {rows['masks'].shape} instead of {expected}"
                )
        lengths = {key: len(row) for key, row in rows.items()}
        if len({*lengths.values()}) > 1:
            raise FaultError(f"has not one number of objects: {lengths}")
        rows["ignored"] = ignored = ignored | (areas == 0)
        rows["valid"] = ~ignored
        kept = np.arange(len(boxes))
        if len(boxes) > self.max_objects:
            if not self.leave_out:
                raise FaultError(
                    f"has {len(boxes)} objects; there are rows for {self.max_objects}"
                )
            kept = np.sort(np.lexsort((-areas, ignored))[: self.max_objects])
        empty = self.max_objects - len(kept)
        label = {
            key: np.pad(row[kept], ((0, empty), *[(0, 0)] * (row.ndim - 1)))
            for key, row in rows.items()
        }
        label["photo_sizes"] = np.array(image.shape[:2], np.int32)
        return {"image": image, "label": label}


def _inside(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns boxes cut at the sides of their image, which they are in.

    Raises:
      FaultError: for boxes that end before they start, are further outside than
        rounding explains, or are not numbers.
    """
    height, width = shape[:2]
    limits = np.array([width, height, width, height])
    turned = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    outside = ~((boxes >= -1) & (boxes <= limits + 1)).all(axis=1)  # NaN is, too.
    for wrong, what in (
        (turned, "which ends before it starts"),
        (outside, f"which is not in its {height} x {width} pixels"),
    ):
        if wrong.any():
            box = ", ".join(f"{side:g}" for side in boxes[wrong][0])
            raise FaultError(f"has a box (x1, y1, x2, y2) = ({box}), {what}")
    return boxes.clip(0, limits)


def room(
    name: str, counts: Sequence[int], max_objects: int | None, leave_out: bool
) -> tuple[int, tuple[int, int]]:
    """Returns how many rows are needed, and what has none.

    Args:
      name: of the data set and split, for messages.
      counts: how many objects each image has.
      max_objects: how many rows there may be; None for as many as it takes.
      leave_out: whether images may have more objects.

    Returns:
      The number of rows; how many objects of how many images are left out.

    Raises:
      UserError: if images have more objects and may not.
    """
    most = max(counts, default=0)
    if max_objects is None:
        return max(1, most), (0, 0)
    if max_objects < 1:
        raise errors.UserError(f"max_objects must be at least 1, not {max_objects}")
    over = [count - max_objects for count in counts if count > max_objects]
    if over and not leave_out:
        raise errors.UserError(
            f"{len(over)} of {len(counts)} images of {name} have more than "
            f"{max_objects} objects (up to {most}): raise max_objects, or let the "
            "smallest objects be left out with leave_out"
        )
    return max_objects, (sum(over), len(over))


@dataclasses.dataclass(frozen=True)
class StoredObjects(Sequence[Any]):
    """What TFDS has read, as a `DetectionSource` takes it.

    Attributes:
      examples: with an "image" and "objects"; a "bbox" is ymin, xmin, ymax, xmax in
        parts of the image's sides.
      masks: whether to look at "instances", the number of each pixel's object.
    """

    examples: Any
    masks: bool

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: Any) -> Any:
        raw = self.examples[index]
        objects = raw["objects"]
        height, width = np.shape(raw["image"])[:2]
        parts = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
        none = np.zeros(len(parts), bool)
        ignored = none
        for key in ("is_crowd", "is_difficult"):
            ignored = ignored | np.asarray(objects.get(key, none), bool)
        parsed = {
            "image": raw["image"],
            "boxes_xyxy": parts[:, [1, 0, 3, 2]] * (width, height, width, height),
            "labels": np.asarray(objects["label"], np.int64) + 1,
            "ignored": ignored,
        }
        if "area" in objects:
            parsed["photo_areas"] = np.asarray(objects["area"])
        if self.masks:
            instances = np.asarray(raw["instances"])[..., 0]
            if instances.max(initial=0) > len(parts):
                raise FaultError(
                    f"has pixels of object {instances.max()}, but {len(parts)} objects"
                )
            numbers = np.arange(1, len(parts) + 1)[:, None, None]
            parsed["masks"] = instances == numbers
        return parsed
