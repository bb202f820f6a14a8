"""Metrics as small (sum, count) pytrees that add up over any split of the data."""

from cnnjax.metrics._mean import Mean as Mean
