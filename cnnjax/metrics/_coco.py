"""Average precision and recall, as the COCO challenges define them."""

import contextlib
import dataclasses
import io
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from cnnjax.metrics._detections import (
    Boxes,
    DetectionResults,
    check_classes,
    pycocotools,
)


@dataclasses.dataclass(frozen=True)
class CocoAveragePrecision:
    """COCO's twelve figures; NaN where there are no objects to find.

    Attributes:
      ap: mean over classes and over IoU thresholds of 0.5, 0.55, ..., 0.95.
      ap50: at a threshold of 0.5.
      ap75: at a threshold of 0.75.
      ap_small: of objects of less than 32 x 32 pixels.
      ap_medium: of those in between.
      ap_large: of those of more than 96 x 96 pixels.
      ar1: recall of one detection per image, likewise a mean.
      ar10: of ten.
      ar100: of a hundred.
      ar_small: of a hundred, for objects of each size.
      ar_medium: likewise.
      ar_large: likewise.
      per_class: ap [classes] of each; NaN for the background, 0.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    per_class: Float[np.ndarray, " classes"]

    def compute(self) -> float:
        """Returns `ap`, the one number for a log."""
        return self.ap


def coco_average_precision(
    results: DetectionResults, num_classes: int, masks: bool = False
) -> CocoAveragePrecision:
    """Returns the figures that COCO's own code computes.

    Ignored objects are its crowds: any number of detections may find one, and neither
    hit nor miss. The hundred best detections per image and class count.

    Args:
      results: detections and objects of all images.
      num_classes: with the background.
      masks: whether to compare masks, as the network saw them, and not boxes.

    Raises:
      ValueError: if a label is none of 1 to num_classes - 1, or there are no masks.
      UserError: if the extra `coco` is not installed.

    Source: https://cocodataset.org/#detection-eval, computed by pycocotools.
    """
    check_classes(results, num_classes)
    coco, cocoeval = pycocotools("coco"), pycocotools("cocoeval")
    if masks and any(image.objects.masks is None for image in results.images):
        raise ValueError("there are no masks among the results")
    objects, detections = [], []
    for i, image in enumerate(results.images):
        objects += _rows(image.objects, i, len(objects), masks)
        detections += _rows(image.detections, i, len(detections), masks)
    for key, value, rows in (
        ("iscrowd", [x for image in results.images for x in image.ignored], objects),
        ("score", [x for image in results.images for x in image.scores], detections),
    ):
        for row, x in zip(rows, value, strict=True):
            row[key] = x.item()
    # It prints, and NumPy warns of how it makes arrays.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        evaluation = cocoeval.COCOeval(
            _index(coco, objects, len(results), num_classes),
            _index(coco, detections, len(results), num_classes),
            "segm" if masks else "bbox",
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = np.where(evaluation.stats < 0, np.nan, evaluation.stats)
    # By threshold, recall, class, range of areas, number of detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = np.full(num_classes, np.nan)
    for label in range(1, num_classes):
        known = precision[:, :, label - 1]
        if (known >= 0).all():
            per_class[label] = known.mean()
    return CocoAveragePrecision(*figures.tolist(), per_class=per_class)


def _rows(boxes: Boxes, image: int, before: int, masks: bool) -> list[dict[str, Any]]:
    """Returns annotations; their ids go on after so many, from 1."""
    areas = boxes.areas if boxes.mask_areas is None or not masks else boxes.mask_areas
    rows = []
    for i, (x1, y1, x2, y2) in enumerate(boxes.boxes_xyxy.tolist()):
        row = {
            "id": before + i + 1,  # Of what is not found, COCO's code says 0.
            "image_id": image,
            "category_id": int(boxes.labels[i]),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": float(areas[i]),
            "iscrowd": 0,
        }
        if masks and boxes.masks is not None:
            row["segmentation"] = boxes.masks[i]
        rows.append(row)
    return rows


def _index(
    coco: Any, rows: list[dict[str, Any]], num_images: int, num_classes: int
) -> Any:
    """Returns annotations as COCO's code looks them up."""
    index = coco.COCO()
    # Sizes of images are asked for, and used for polygons only.
    index.dataset = {
        "images": [{"id": i, "height": 0, "width": 0} for i in range(num_images)],
        "categories": [{"id": label} for label in range(1, num_classes)],
        "annotations": rows,
    }
    index.createIndex()
    return index
