"""What a detector found in the images of a data set, and what is there: on the host."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from cnnjax import errors


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Objects or detections of an image.

    Attributes:
      boxes_xyxy: in the photo's pixels.
      labels: classes.
      areas: in the photo's pixels, of boxes; where it is known, of what they show.
      masks: of each the COCO run-length code, if there are masks.
      mask_areas: in the photo's pixels; where it is known, of what they show.
    """

    boxes_xyxy: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    areas: Float[np.ndarray, " n"]
    masks: list[dict[str, Any]] | None
    mask_areas: Float[np.ndarray, " n"] | None


@dataclasses.dataclass(frozen=True)
class Found:
    """What there is to say of an image.

    Attributes:
      detections: what a detector found.
      scores: of each of these.
      objects: what is there.
      ignored: which of these do not count.
    """

    detections: Boxes
    scores: Float[np.ndarray, " n"]
    objects: Boxes
    ignored: Bool[np.ndarray, " m"]


@dataclasses.dataclass(frozen=True)
class DetectionResults:
    """Detections and objects of images, batch by batch: what metrics are computed of.

    `a + b` is that of both. Whatever is padding is left out: a metric of many batches
    is the same as that of one.

    Attributes:
      images: in the order in which they were added.
    """

    images: list[Found] = dataclasses.field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.images)

    def __add__(self, other: "DetectionResults") -> "DetectionResults":
        return DetectionResults(self.images + other.images)

    def add(
        self, detections: Any, label: Mapping[str, Any], mask: Any | None = None
    ) -> None:
        """Adds a batch.

        Args:
          detections: with attributes boxes_xyxy [n, k, 4], scores [n, k], labels
            [n, k] and valid [n, k]; perhaps masks, the pixels of the images that they
            cover [n, k, h, w], as `cnnjax.detection.paste_masks` makes them of what
            boxes show. The label has masks then, too.
          label: "boxes_xyxy" [n, m, 4], "labels", "valid" and perhaps "ignored"
            [n, m], as batches of a `cnnjax.data.DetectionSource` have them. With
            "sizes" and "photo_sizes" [n, 2], all boxes are taken to the photo's pixels
            and masks are cut off where the image ends; areas are "photo_areas" [n, m].
          mask: which images count [n]; default: all.

        Raises:
          ValueError: if the shapes do not fit, or what is valid is not finite.
          UserError: if there are masks, and the extra `coco` is not installed.
        """
        found = {
            key: np.asarray(getattr(detections, key))
            for key in ("boxes_xyxy", "scores", "labels", "valid")
        }
        there = {key: np.asarray(value) for key, value in label.items()}
        there.setdefault("ignored", np.zeros_like(there["valid"]))
        counted = np.ones(len(there["valid"]), bool) if mask is None else mask
        _check(found, "detections", len(there["valid"]))
        _check(there, "objects", len(np.asarray(counted)))
        masks = getattr(detections, "masks", None)
        if masks is not None:
            if "masks" not in there:
                raise ValueError("detections have masks and objects have none")
            found["masks"] = np.asarray(masks)
            pixels = there["masks"].shape[2:]
            if found["masks"].dtype != bool or found["masks"].shape[2:] != pixels:
                raise ValueError(
                    f"detections have {found['masks'].dtype} masks of "
                    f"{found['masks'].shape[2:]} pixels; they have to be truth values "
                    f"of the images' {pixels}: see cnnjax.detection.paste_masks"
                )
        else:
            there.pop("masks", None)
        for i in np.flatnonzero(np.asarray(counted)):
            one, other = ({k: v[i] for k, v in x.items()} for x in (found, there))
            sizes = [other.get(key) for key in ("photo_sizes", "sizes")]
            kept = one["valid"], other["valid"] | other["ignored"]
            image = Found(
                detections=_boxes(one, kept[0], *sizes),
                scores=one["scores"][kept[0]].astype(np.float64),
                objects=_boxes(other, kept[1], *sizes),
                ignored=other["ignored"][kept[1]],
            )
            self.images.append(image)


def _check(arrays: dict[str, np.ndarray], what: str, length: int) -> None:
    """Raises a ValueError unless arrays of boxes fit each other, and are finite."""
    shape = arrays["valid"].shape
    rows = {"scores", "labels", "valid", "ignored", "photo_areas"} & set(arrays)
    shapes = {key: arrays[key].shape for key in sorted(rows)}
    shapes["boxes_xyxy"] = arrays["boxes_xyxy"].shape
    expected = dict.fromkeys(rows, shape) | {"boxes_xyxy": (*shape, 4)}
    if shapes != expected or len(shape) != 2 or shape[0] != length:
        raise ValueError(f"{what} of {length} images have shapes that differ: {shapes}")
    for key in {"boxes_xyxy", "scores"} & set(arrays):
        if not np.isfinite(arrays[key][arrays["valid"]]).all():
            raise ValueError(f"valid {what} have {key} that are not finite")


def _boxes(
    arrays: dict[str, np.ndarray],
    kept: np.ndarray,
    photo_size: np.ndarray | None,
    size: np.ndarray | None,
) -> Boxes:
    """Returns some of an image's objects or detections, in the photo's pixels."""
    boxes = arrays["boxes_xyxy"][kept].astype(np.float64)
    scale = np.ones(2)
    if photo_size is not None and size is not None:
        scale = (photo_size / size)[::-1]
        boxes *= np.tile(scale, 2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    masks = mask_areas = None
    if "masks" in arrays:
        rows, columns = arrays["masks"].shape[-2:] if size is None else size
        planes = arrays["masks"][kept][:, :rows, :columns].astype(np.uint8)
        masks = pycocotools("mask").encode(np.asfortranarray(planes.transpose(1, 2, 0)))
        mask_areas = planes.sum(axis=(1, 2)) * scale.prod()
    if "photo_areas" in arrays:
        areas = arrays["photo_areas"][kept].astype(np.float64)
        mask_areas = areas if masks is not None else None
    labels = arrays["labels"][kept].astype(np.int64)
    return Boxes(boxes, labels, areas, masks, mask_areas)


def pycocotools(module: str) -> Any:
    """Returns a module of pycocotools.

    Raises:
      UserError: if it is not installed.
    """
    try:
        return importlib.import_module(f"pycocotools.{module}")
    except ImportError as error:
        raise errors.UserError(
            "COCO's masks and figures need pycocotools: pip install 'cnnjax[coco]'"
        ) from error


def check_classes(results: DetectionResults, num_classes: int) -> None:
    """Raises a ValueError if anything is of no class, or of the background, 0."""
    for image in results.images:
        for what in ("detections", "objects"):
            labels = getattr(image, what).labels
            wrong = labels[(labels < 1) | (labels >= num_classes)]
            if wrong.size:
                raise ValueError(
                    f"{what} have label {wrong[0]}; there are 1 to {num_classes - 1}"
                )
