"""Metrics as small pytrees of sums that add up over any split of the data."""

from cnnjax.metrics._confusion import ConfusionMatrix as ConfusionMatrix
from cnnjax.metrics._mean import Mean as Mean
