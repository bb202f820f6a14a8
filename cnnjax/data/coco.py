"""Folders of images with objects in COCO's format: a JSON file, which is checked."""

import dataclasses
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from cnnjax import errors
from cnnjax.data.detection import DetectionSource, room
from cnnjax.data.sources import FaultError


GAP = "N/A"  # What torchvision calls the numbers that no class of COCO has.

_MOST_CLASSES = 100_000  # A larger category id is a mistake, and would fill memory.
_FAR = 1e12  # No pixel is there; neither is infinity, nor what is not a number.
_SHOWN = 10


def load_coco_folder(
    folder: Path,
    split: str,
    *,
    max_objects: int | None = None,
    leave_out: bool = False,
    masks: bool = False,
) -> DetectionSource:
    """Opens a folder of images with objects in COCO's format.

    Classes have the numbers that the file gives them, so that of COCO there are 91:
    `class_names` is "background", and "N/A" for numbers that no class has. Crowds are
    ignored objects. Images are decoded when they are read, as RGB, and are not turned
    by their EXIF data, since COCO's boxes are those of the images as they are stored.

    Args:
      folder: with the JSON file and the images.
      split: the JSON file's name without `.json`, in the folder or its `annotations`,
        and a part of it if wanted: "annotations", "instances_val2017",
        "annotations[:80%]". Images are in the folder, its `images`, or one named as the
        split after its first "_", e.g. `val2017`, in either.
      max_objects: as `load_detection` takes it.
      leave_out: as `load_detection` takes it.
      masks: whether objects have masks: polygons, which cover the pixels whose middle
        is inside, or lists of counts. Compressed counts are not read.

    Returns:
      The images in the file's order, those without objects too.

    Raises:
      UserError: if the file is none, or wrong: an id twice, an object of an unknown
        image or category, a box that is no box or not in its image, an image that is
        missing or not in the folder. Or if images have more objects than `max_objects`.

    Source: the format is that of https://cocodataset.org/#format-data.
    """
    stem = split.partition("[")[0]
    file = _annotations(folder, stem)
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise errors.UserError(f"{file} cannot be read as JSON: {reason}") from error
    checked = _Checks(file)
    images, categories, annotations = checked.tables(content)
    class_names = checked.class_names(categories)
    paths = checked.paths(images, _places(folder, stem), folder)
    if not masks:  # They are most of the file.
        for row in annotations:
            row.pop("segmentation", None)
    objects = checked.objects(annotations, images, {row["id"] for row in categories})
    part = _part(split, stem, len(images), file)
    kept = [image["id"] for image in images][part]
    counts = [len(objects[key]) for key in kept]
    name = f"{folder}/{split}"
    max_objects, left_out = room(name, counts, max_objects, leave_out)
    examples = [
        (path, (image["height"], image["width"]), objects[image["id"]])
        for path, image in zip(paths[part], images[part], strict=True)
    ]
    return DetectionSource(
        name=name,
        examples=_Photos(examples, masks),
        image_shape=(None, None, 3),
        class_names=class_names,
        max_objects=max_objects,
        masks=masks,
        leave_out=leave_out,
        left_out=left_out,
    )


def _annotations(folder: Path, stem: str) -> Path:
    """Returns the JSON file of a split."""
    places = (folder, folder / "annotations")
    found = [file for place in places for file in sorted(place.glob("*.json"))]
    for file in found:
        if file.stem == stem:
            return file
    if not found:
        raise errors.UserError(
            f"{folder} has no annotations: no JSON file in it or its 'annotations'"
        )
    raise errors.unknown(f"split of {folder}", stem, [file.stem for file in found])


def _places(folder: Path, stem: str) -> list[Path]:
    """Returns the folders in which a split's images may be."""
    subset = stem.split("_", 1)[-1]
    bases = [folder, folder / "images"]
    return [*bases, *(base / subset for base in bases)]


def _part(split: str, stem: str, length: int, file: Path) -> slice:
    """Returns which of so many images a split is."""
    name = "split"  # A file's may have dots, that of TFDS not.
    info = tfds.core.SplitInfo(name=name, shard_lengths=[length], num_bytes=0)
    try:
        read = tfds.core.ReadInstruction.from_spec(name + split.removeprefix(stem))
        (part,) = read.to_absolute({name: info})
    except Exception as error:  # Of another type for each thing that can be wrong.
        raise errors.UserError(
            f"{split!r} is no part of {file}; write e.g. '{stem}[:80%]'"
        ) from error
    return slice(part.from_, part.to)


@dataclasses.dataclass(frozen=True)
class _Checks:
    """What is looked at in a JSON file before anything is done with it."""

    file: Path

    def refuse(self, wrong: Iterable[Any], what: str) -> None:
        """Raises a UserError that lists at most ten of what is wrong, if anything is.

        Args:
          wrong: ids or names.
          what: the message; {} is where they are listed.
        """
        wrong = list(wrong)
        if wrong:
            few = ", ".join(repr(one)[:80] for one in wrong[:_SHOWN])
            rest = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise errors.UserError(f"{self.file}: " + what.format(few + rest))

    def tables(self, content: Any) -> list[list[dict[str, Any]]]:
        """Returns images, categories and annotations, whose ids differ."""
        tables = []
        for key in ("images", "categories", "annotations"):
            table = content.get(key) if isinstance(content, dict) else None
            if not isinstance(table, list) or not all(
                isinstance(row, dict) and _whole(row.get("id")) for row in table
            ):
                raise errors.UserError(
                    f"{self.file}: it needs {key!r}, a list of objects with an 'id'"
                )
            times = Counter(row["id"] for row in table)
            twice = (key for key, count in times.items() if count > 1)
            self.refuse(twice, f"{key} have ids more than once: {{}}")
            tables.append(table)
        return tables

    def class_names(self, categories: list[dict[str, Any]]) -> list[str]:
        """Returns the names by id."""
        if not categories:
            raise errors.UserError(f"{self.file}: it has no categories")
        ids = [row["id"] for row in categories]
        self.refuse(
            (i for i in ids if not 1 <= i <= _MOST_CLASSES),
            f"categories have ids {{}}; they must be 1 to {_MOST_CLASSES}, since 0 is "
            "the background",
        )
        self.refuse(
            (row["id"] for row in categories if not isinstance(row.get("name"), str)),
            "categories {} have no name",
        )
        times = Counter(row["name"] for row in categories)
        twice = (name for name, count in times.items() if count > 1)
        self.refuse(twice, "categories have names more than once: {}")
        names = ["background"] + [GAP] * max(ids)
        for row in categories:
            names[row["id"]] = row["name"]
        return names

    def paths(
        self, images: list[dict[str, Any]], places: list[Path], folder: Path
    ) -> list[Path]:
        """Returns the images' files, all of them in one place in the folder."""
        self.refuse(
            (
                row["id"]
                for row in images
                if not isinstance(row.get("file_name"), str)
                or not all(_whole(row.get(k)) and row[k] > 0 for k in _SIZE)
            ),
            "images {} need a 'file_name', and a 'height' and 'width' in pixels",
        )
        names = [row["file_name"] for row in images]
        outside = "images are not in the folder: {}"
        self.refuse((name for name in names if _leaves(name)), outside)
        if not names:
            return []
        found = (p for p in places if any(os.path.isfile(p / name) for name in names))
        place = next(found, places[0])
        paths = [place / name for name in names]
        missing = (path for path in paths if not os.path.isfile(path))
        self.refuse(_from(folder, missing), "images are missing: {}")
        root = folder.resolve()
        leaving = (path for path in paths if not path.resolve().is_relative_to(root))
        self.refuse(_from(folder, leaving), outside)
        return paths

    def objects(
        self,
        annotations: list[dict[str, Any]],
        images: list[dict[str, Any]],
        classes: set[int],
    ) -> dict[int, list[dict[str, Any]]]:
        """Returns the annotations of each image."""
        sizes = {row["id"]: (row["height"], row["width"]) for row in images}

        def refuse(wrong: Callable[[dict[str, Any]], bool], what: str) -> None:
            self.refuse((row["id"] for row in annotations if wrong(row)), what)

        refuse(
            lambda row: not _whole(row.get("image_id")) or row["image_id"] not in sizes,
            "annotations {} have an 'image_id' that no image has",
        )
        refuse(
            lambda row: (
                not _whole(row.get("category_id")) or row["category_id"] not in classes
            ),
            "annotations {} have a 'category_id' that no category has",
        )
        refuse(
            lambda row: not _box(row.get("bbox")),
            "annotations {} need a 'bbox' of four numbers [x, y, width, height], the "
            "last two not below 0",
        )
        refuse(
            lambda row: not _within(row["bbox"], sizes[row["image_id"]]),
            "annotations {} have a 'bbox' outside of their image",
        )
        refuse(
            lambda row: row.get("iscrowd", 0) not in (0, 1),
            "annotations {} have an 'iscrowd' that is neither 0 nor 1",
        )
        refuse(
            lambda row: not _numbers([area := row.get("area", 0)]) or area < 0,
            "annotations {} have an 'area' that is none",
        )
        found: dict[int, list[dict[str, Any]]] = {key: [] for key in sizes}
        for row in annotations:
            found[row["image_id"]].append(row)
        return found


_SIZE = ("height", "width")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(values: list[Any]) -> bool:
    return all(
        isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= _FAR
        for x in values
    )


def _box(box: Any) -> bool:
    fits = isinstance(box, list) and len(box) == 4 and _numbers(box)
    return fits and min(box[2:]) >= 0


def _within(box: list[Any], size: tuple[int, int]) -> bool:
    """Returns whether a box is in an image, but for a pixel: boxes are rounded."""
    x, y, width, height = box
    return min(x, y) >= -1 and y + height <= size[0] + 1 and x + width <= size[1] + 1


def _from(folder: Path, paths: Iterable[Path]) -> list[str]:
    """Returns the names of files as seen from a folder, which are short."""
    return [str(path.relative_to(folder)) for path in paths]


def _leaves(name: str) -> bool:
    """Returns whether a path leaves the folder that it is in, on any system."""
    parts = re.split(r"[/\\]", name)
    return not parts[0] or ".." in parts or ":" in parts[0] or "\0" in name


@dataclasses.dataclass(frozen=True)
class _Photos(Sequence[Any]):
    """Decodes an image at a time.

    Attributes:
      examples: file, rows and columns, annotations of each.
      masks: whether to draw those.
    """

    examples: list[tuple[Path, tuple[int, int], list[dict[str, Any]]]]
    masks: bool

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: Any) -> Any:
        path, size, objects = self.examples[index]
        with Image.open(path) as file:
            if file.size[::-1] != size:
                raise FaultError(
                    f"({path.name}) has {file.height} x {file.width} pixels; its "
                    f"annotations say {size[0]} x {size[1]}"
                )
            image = np.asarray(file.convert("RGB"))
        boxes = np.array([row["bbox"] for row in objects], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        parsed = {
            "image": image,
            "boxes_xyxy": boxes,
            "labels": [row["category_id"] for row in objects],
            "ignored": [bool(row.get("iscrowd", 0)) for row in objects],
            "photo_areas": [
                row.get("area", row["bbox"][2] * row["bbox"][3]) for row in objects
            ],
        }
        if self.masks:
            masks = [_mask(row, size) for row in objects]
            parsed["masks"] = np.array(masks, bool).reshape(-1, *size)
        return parsed


def _mask(row: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Returns an object's pixels [h, w].

    Raises:
      FaultError: unless its segmentation is polygons in the image, or counts of all of
        its pixels.
    """
    shape, height, width = row.get("segmentation"), *size
    fault = FaultError(f"has no mask for annotation {row['id']} that can be read")
    if isinstance(shape, dict):
        # By column: how many pixels are not of the object, how many are, and so on.
        counts = shape.get("counts")
        if (
            not isinstance(counts, list)
            or not all(_whole(count) and count >= 0 for count in counts)
            or sum(counts) != height * width
        ):
            raise fault
        inside = np.arange(len(counts)) % 2 == 1
        return np.repeat(inside, counts).reshape(width, height).T
    if not isinstance(shape, list) or not shape:
        raise fault
    for polygon in shape:
        if (
            not isinstance(polygon, list)
            or len(polygon) < 6
            or len(polygon) % 2
            or not _numbers(polygon)
            or min(polygon) < -1
            or max(polygon[::2]) > width + 1
            or max(polygon[1::2]) > height + 1
        ):
            raise fault
    return np.any([_drawn(np.reshape(points, (-1, 2)), size) for points in shape], 0)


def _drawn(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the pixels [h, w] whose middle is inside a polygon of points (x, y)."""
    height, width = size
    x1, y1 = points.T
    x2, y2 = np.roll(points, -1, axis=0).T
    middles = np.arange(height)[:, None] + 0.5
    row, side = np.nonzero((y1 <= middles) != (y2 <= middles))
    part = (row + 0.5 - y1[side]) / (y2[side] - y1[side])
    x = x1[side] + part * (x2[side] - x1[side])
    # On the right of an odd number of sides one is inside.
    crossed = np.zeros((height, width + 1), int)
    np.add.at(crossed, (row, np.ceil(x - 0.5).clip(0, width).astype(int)), 1)
    return crossed[:, :width].cumsum(axis=1) % 2 == 1
