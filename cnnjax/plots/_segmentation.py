"""Pictures of what pixels belong to."""

from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image


def class_colours(num_classes: int) -> UInt8[np.ndarray, "k 3"]:
    """Returns an RGB colour for each class: black for the first, then unlike ones.

    The bits of a class's number, three at a time, are the bits of red, green and blue,
    the highest first.

    Args:
      num_classes: at most 256.

    Source: PASCAL VOC's colours, https://doi.org/10.1007/s11263-009-0275-4.
    """
    colours = np.zeros((num_classes, 3), np.uint8)
    for bit in range(3):
        for channel in range(3):
            bits = np.arange(num_classes) >> (3 * bit + channel) & 1
            colours[:, channel] |= (bits << (7 - bit)).astype(np.uint8)
    return colours


def overlay(
    path: Path,
    image: UInt8[np.ndarray, "h w 3"],
    labels: Int[np.ndarray, "h w"],
    opacity: float = 0.5,
) -> None:
    """Paints each pixel of an image in the colour of its class.

    Args:
      path: the PNG file to write, of the image's size.
      image: RGB.
      labels: the class of each pixel.
      opacity: share of the colour in what is shown.
    """
    colours = class_colours(int(labels.max()) + 1)[labels]
    mixed = (1 - opacity) * image + opacity * colours
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mixed.astype(np.uint8)).save(path, format="PNG")
