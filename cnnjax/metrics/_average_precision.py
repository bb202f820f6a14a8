"""Average precision, as the Pascal VOC challenges define it."""

import dataclasses
from collections import defaultdict

import numpy as np
from jaxtyping import Float

from cnnjax.metrics._detections import DetectionResults, check_classes


@dataclasses.dataclass(frozen=True)
class Curve:
    """Precision and recall of a class, from the highest score down.

    Attributes:
      scores: of the detections that count.
      recall: share of the objects that are found at this score or a higher one.
      precision: share of those detections that found one.
    """

    scores: Float[np.ndarray, " n"]
    recall: Float[np.ndarray, " n"]
    precision: Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class AveragePrecision:
    """Average precisions of classes, and the curves that they are of.

    Attributes:
      per_class: [classes]; NaN for classes without objects, as the background, 0, is.
      curves: one per class; empty for those.
    """

    per_class: Float[np.ndarray, " classes"]
    curves: tuple[Curve, ...] = dataclasses.field(repr=False)

    @property
    def mean(self) -> float:
        """The mean over the classes that have objects; NaN if none has."""
        known = self.per_class[~np.isnan(self.per_class)]
        return float(known.mean()) if known.size else float("nan")

    def compute(self) -> float:
        """Returns `mean`, the one number for a log."""
        return self.mean


def voc_average_precision(
    results: DetectionResults,
    num_classes: int,
    iou_threshold: float = 0.5,
    eleven_points: bool = False,
) -> AveragePrecision:
    """Returns the average precision of each class.

    From the highest score down, a detection is a hit if the object of its class that it
    overlaps most (the first of equal ones) is overlapped enough and has not been found
    yet; else it is a miss. If that object is an ignored one it is neither. Detections
    with equal scores come in the order in which they were added.

    Args:
      results: detections and objects of all images.
      num_classes: with the background.
      iou_threshold: the least intersection over union of a hit.
      eleven_points: whether to average the highest precision at recalls of at least 0,
        0.1, ..., 1, as until 2009. Else it is the area under the curve, made monotone.

    Raises:
      ValueError: if a label is none of 1 to num_classes - 1.

    Source: Everingham et al., 2010, https://doi.org/10.1007/s11263-009-0275-4, section
    4.2, and the development kits of 2007 and 2012. These count pixels from corner to
    corner, x2 - x1 + 1; here a box is x2 - x1 wide.
    """
    check_classes(results, num_classes)
    numbers = np.zeros(num_classes, int)
    scores: dict[int, list[np.ndarray]] = defaultdict(list)
    hits: dict[int, list[np.ndarray]] = defaultdict(list)
    for image in results.images:
        numbers += np.bincount(
            image.objects.labels[~image.ignored], minlength=num_classes
        )
        for label in np.unique(image.detections.labels):
            mine = image.detections.labels == label
            order = np.argsort(-image.scores[mine], kind="stable")
            theirs = image.objects.labels == label
            hit, counts = _hits(
                image.detections.boxes_xyxy[mine][order],
                image.objects.boxes_xyxy[theirs],
                image.ignored[theirs],
                iou_threshold,
            )
            scores[label].append(image.scores[mine][order][counts])
            hits[label].append(hit[counts])
    curves, per_class = [], np.full(num_classes, np.nan)
    for label, number in enumerate(numbers.tolist()):
        none = np.zeros(0)
        curve = Curve(none, none, none)
        if number:
            curve = _curve(
                np.concatenate([none, *scores[label]]),
                np.concatenate([none, *hits[label]]),
                number,
            )
            average = _eleven_points if eleven_points else _area
            per_class[label] = average(curve)
        curves.append(curve)
    return AveragePrecision(per_class, tuple(curves))


def _hits(
    boxes: np.ndarray, objects: np.ndarray, ignored: np.ndarray, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which boxes, the best first, find an object, and which boxes count."""
    hit, counts = np.zeros(len(boxes), bool), np.ones(len(boxes), bool)
    if not len(objects):
        return hit, counts
    overlaps = _iou(boxes, objects)
    found = np.zeros(len(objects), bool)
    for i, best in enumerate(overlaps.argmax(axis=1)):
        if overlaps[i, best] < iou_threshold:
            continue
        if ignored[best]:
            counts[i] = False
        else:
            hit[i] = not found[best]
            found[best] = True
    return hit, counts


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns intersection over union of each pair of boxes; 0 for those of no area."""
    low = np.maximum(one[:, None, :2], other[:, :2])
    high = np.minimum(one[:, None, 2:], other[:, 2:])
    shared = (high - low).clip(0).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _curve(scores: np.ndarray, hits: np.ndarray, number: int) -> Curve:
    """Returns the curve of detections of a class that has so many objects."""
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(hits[order])
    return Curve(scores[order], found / number, found / (np.arange(len(order)) + 1))


def _area(curve: Curve) -> float:
    """Returns the sum of the steps in recall times the highest precision from there."""
    highest = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * highest))


def _eleven_points(curve: Curve) -> float:
    """Returns the mean of the highest precisions at eleven recalls or more."""
    recalls = np.arange(11) / 10
    best = [curve.precision[curve.recall >= r].max(initial=0.0) for r in recalls]
    return float(np.mean(best))
