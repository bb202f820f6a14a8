"""Metrics as small pytrees of sums that add up over any split of the data.

Those of detection need all detections at once: `DetectionResults` keeps them.
"""

from cnnjax.metrics._average_precision import AveragePrecision as AveragePrecision
from cnnjax.metrics._average_precision import (
    voc_average_precision as voc_average_precision,
)
from cnnjax.metrics._coco import CocoAveragePrecision as CocoAveragePrecision
from cnnjax.metrics._coco import coco_average_precision as coco_average_precision
from cnnjax.metrics._confusion import ConfusionMatrix as ConfusionMatrix
from cnnjax.metrics._detections import DetectionResults as DetectionResults
from cnnjax.metrics._mean import Mean as Mean
