"""Anchors: the boxes from which detectors measure. They are constants of a size."""

import math
from collections.abc import Sequence

import numpy as np


def grid_anchors(
    image_size: Sequence[int],
    map_sizes: Sequence[Sequence[int]],
    sizes: Sequence[Sequence[int | float]],
    aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> np.ndarray:
    """Returns boxes of several sizes and shapes around the places of maps.

    Args:
      image_size: rows and columns of the image.
      map_sizes: of each map, the finest first. A place of a map stands for a whole
        number of pixels, and its anchors are around their first corner.
      sizes: for each map, the roots of the areas.
      aspect_ratios: heights divided by widths.

    Returns:
      Float32 [n, 4] as x1, y1, x2, y2, rounded around the first place of each map: by
      map, row, column, ratio, size.

    Raises:
      ValueError: unless there are sizes for each map.

    Source: Ren et al., 2015, https://arxiv.org/abs/1506.01497; order and rounding are
    torchvision's.
    """
    root = np.sqrt(np.asarray(aspect_ratios, np.float32))[:, None]
    anchors = []
    for (rows, columns), lengths in zip(map_sizes, sizes, strict=True):
        lengths = np.asarray(lengths, np.float32)[None]
        width, height = (lengths / root).ravel(), (lengths * root).ravel()
        shapes = np.stack([-width, -height, width, height], 1) / 2
        x = np.arange(columns) * (image_size[1] // columns)
        y = np.arange(rows) * (image_size[0] // rows)
        x, y = np.meshgrid(x, y)
        corners = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
        anchors.append((corners + np.round(shapes)).reshape(-1, 4))
    return np.concatenate(anchors).astype(np.float32)


def ssd_anchors(
    image_size: Sequence[int],
    map_sizes: Sequence[Sequence[int]],
    scales: Sequence[float] = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
    aspect_ratios: Sequence[Sequence[int | float]] = ((2,), *[(2, 3)] * 3, (2,), (2,)),
    steps: Sequence[int] = (8, 16, 32, 64, 100, 300),
) -> np.ndarray:
    """Returns the default boxes of SSD.

    Args:
      image_size: rows and columns of the image.
      map_sizes: of each map, the finest first.
      scales: sides of the squares in parts of the image, and one more, for the second
        square of the last map.
      aspect_ratios: for each map, those of its other boxes, which lie and stand.
      steps: for each map, pixels from place to place.

    Returns:
      Float32 [n, 4] as x1, y1, x2, y2: by map, row, column; the two squares first.

    Source: Liu et al., 2016, https://arxiv.org/abs/1512.02325, section 2.2; the order
    is torchvision's.
    """
    height, width = image_size
    anchors = []
    for k, (rows, columns) in enumerate(map_sizes):
        scale = scales[k]
        between = math.sqrt(scale * scales[k + 1])
        shapes = [(scale, scale), (between, between)]
        for ratio in aspect_ratios[k]:
            long, short = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            shapes += [(long, short), (short, long)]
        shapes = np.clip(shapes, 0, 1) * [width, height]
        x = (np.arange(columns) + 0.5) * steps[k]
        y = (np.arange(rows) + 0.5) * steps[k]
        middle = np.stack(np.meshgrid(x, y), -1).reshape(-1, 1, 2)
        corners = np.concatenate([middle - shapes / 2, middle + shapes / 2], -1)
        anchors.append(corners.reshape(-1, 4))
    return np.concatenate(anchors).astype(np.float32)
