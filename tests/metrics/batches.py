"""Detections and objects to compute average precision of."""

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from cnnjax import metrics


@flax.struct.dataclass
class Detections:
    boxes_xyxy: Array
    scores: Array
    labels: Array
    valid: Array
    masks: Array | None = None


def boxes_at(*places, side=10):
    """Returns squares that start at (10 i, 0)."""
    x = 10.0 * np.array(places)
    return np.stack([x, 0 * x, x + side, 0 * x + side], axis=-1)


def results(*images):
    """Each image is (places, scores, labels) found, (places, labels, ignored) there."""
    collected = metrics.DetectionResults()
    for (found, scores, labels), (there, classes, ignored) in images:
        collected.add(
            Detections(
                jnp.asarray(boxes_at(*found)[None]),
                jnp.asarray([scores], float),
                jnp.asarray([labels], int),
                jnp.ones((1, len(found)), bool),
            ),
            {
                "boxes_xyxy": boxes_at(*there)[None],
                "labels": np.array([classes], int),
                "valid": ~np.array([ignored], bool),
                "ignored": np.array([ignored], bool),
            },
        )
    return collected


def random_batch(rng, n=6, k=12, m=7, classes=4, apart=False):
    """Returns detections around objects, and some that are anywhere, padded."""
    low = rng.uniform(0, 60, (n, m, 2))
    sides = rng.uniform(6, 40, (n, m, 2))
    if apart:  # Each in a field of its own.
        low = np.stack([np.arange(m) * 130 + 5.0, np.zeros(m)], -1) + 0 * low
        sides = rng.uniform(8, 120, (n, m, 2))
    objects = np.concatenate([low, low + sides], -1)
    which = rng.integers(m, size=(n, k))
    boxes = np.take_along_axis(objects, which[..., None], 1)
    boxes = boxes + rng.normal(0, 0.07, (n, k, 4)) * np.tile(
        boxes[..., 2:] - boxes[..., :2], 2
    )
    classes_there = rng.integers(1, classes, (n, m))
    labels = np.take_along_axis(classes_there, which, 1)
    labels = np.where(
        rng.random((n, k)) < 0.2, rng.integers(1, classes, (n, k)), labels
    )
    there = rng.random((n, m))
    scores = np.round(rng.random((n, k)), 2)
    detections = Detections(boxes, scores, labels, rng.random((n, k)) < 0.8)
    label = {
        "boxes_xyxy": objects,
        "labels": classes_there,
        "valid": there < 0.7,
        "ignored": there > 0.85,
    }
    return detections, label


def collect(*batches):
    found = metrics.DetectionResults()
    for batch in batches:
        found.add(*batch)
    return found
