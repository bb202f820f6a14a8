"""Pictures of what pixels belong to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer, UInt8
from PIL import Image


_GAP = 2  # Pixels between pictures.


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


def comparison(
    path: Path,
    images: Sequence[UInt8[np.ndarray, "h w c"]],
    labels: Sequence[Integer[np.ndarray, "h w"]],
    predictions: Sequence[Integer[np.ndarray, "h w"]],
    num_classes: int,
    ignore_index: int,
    zoom: int = 2,
) -> None:
    """Draws a column per image: it, its classes, those predicted, and where they err.

    Errors are white; pixels that do not count are grey, in the labels and below.

    Args:
      path: the PNG file to write.
      images: RGB or grey, all of one size.
      labels: the class of each pixel.
      predictions: the predicted ones.
      num_classes: of both.
      ignore_index: the label of pixels that do not count.
      zoom: side of the square that a pixel becomes.
    """
    colours = np.full((256, 3), 128, np.uint8)
    colours[:num_classes] = class_colours(num_classes)
    columns = []
    for image, label, prediction in zip(images, labels, predictions, strict=True):
        ignored = label == ignore_index
        wrong = np.where(ignored, 128, 255 * (label != prediction)).astype(np.uint8)
        rows = [np.broadcast_to(image, (*label.shape, 3)), colours[label]]
        rows += [colours[prediction], np.repeat(wrong[..., None], 3, axis=-1)]
        frame = ((0, _GAP), (0, _GAP), (0, 0))
        padded = [np.pad(row, frame, constant_values=255) for row in rows]
        columns.append(np.concatenate(padded))
    picture = np.concatenate(columns, axis=1).repeat(zoom, 0).repeat(zoom, 1)
    Image.fromarray(picture).save(path, format="PNG")
