"""What happens to one image on the host, in NumPy.

An image is [h, w, c]. A clip [t, h, w, c] is one too: all frames are treated alike. So
is a label map [h, w, 1], where a function can be told so: it is never interpolated, and
what enters from outside is IGNORE_LABEL.
"""

import abc
import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image


BLACK = -1.0  # As `normalise` returns it.
IGNORE_LABEL = 255  # Of a pixel that is not to be counted.


Move = Callable[[np.ndarray, bool], np.ndarray]
"""Moves the pixels of an image, or, if that is true, of a label map."""


class Geometric(abc.ABC):
    """A random change of where things are, which label maps can follow."""

    @abc.abstractmethod
    def draw(self, height: int, width: int, rng: np.random.Generator) -> Move:
        """Draws what happens to images and label maps of this size."""

    def __call__(
        self, image: Shaped[np.ndarray, "*t h w c"], rng: np.random.Generator
    ) -> Shaped[np.ndarray, "*t _h _w c"]:
        """Returns the image under one random change."""
        height, width = image.shape[-3:-1]
        return self.draw(height, width, rng)(image, False)

    def joint(
        self,
        image: Shaped[np.ndarray, "h w c"],
        label: UInt8[np.ndarray, "h w"],
        rng: np.random.Generator,
    ) -> tuple[Shaped[np.ndarray, "_h _w c"], UInt8[np.ndarray, "_h _w"]]:
        """Returns the image and the label map under the same random change."""
        height, width = label.shape
        move = self.draw(height, width, rng)
        return move(image, False), move(label[..., None], True)[..., 0]


@dataclasses.dataclass(frozen=True)
class RandomAffine(Geometric):
    """A random rotation, scaling, shear and shift of the image plane.

    Each amount is drawn uniformly from [-limit, limit]; 0 turns it off.

    Attributes:
      rotation: largest angle, in degrees.
      scale: largest relative change of size, the same in both directions.
      shear: largest horizontal offset per unit of height.
      shift: largest offset in each direction, as a fraction of the image's side.
    """

    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 0.1

    def draw(self, height: int, width: int, rng: np.random.Generator) -> Move:
        """Draws a transformation of normalised images; what enters is black."""
        angle, scale, shear, *shift = rng.uniform(-1.0, 1.0, 5)
        angle = np.deg2rad(angle * self.rotation)
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        shears = np.array([[1.0, 0.0], [shear * self.shear, 1.0]])
        matrix = rotation @ shears / (1.0 + scale * self.scale)
        offset = self.shift * np.array(shift) * (height, width)
        return lambda image, labels: affine(image, matrix, offset, labels)


def affine(
    image: Shaped[np.ndarray, "*t h w c"],
    matrix: Float[np.ndarray, "2 2"],
    shift: Float[np.ndarray, "2"],
    labels: bool = False,
) -> Shaped[np.ndarray, "*t h w c"]:
    """Samples the image at `matrix @ (p - centre) + centre + shift` for each pixel p.

    Args:
      image: a normalised image, or a label map.
      matrix: maps output to input coordinates (row, column) around the centre.
      shift: offset (rows, columns), in pixels.
      labels: whether it is a label map.

    Returns:
      The image of the same shape, interpolated bilinearly; outside of it is BLACK. Of a
      label map, the nearest labels; outside of it is IGNORE_LABEL.
    """
    height, width = image.shape[-3:-1]
    centre = (np.array([height, width]) - 1) / 2
    rows, columns = np.ogrid[:height, :width]
    rows, columns = rows - centre[0], columns - centre[1]
    y = matrix[0, 0] * rows + matrix[0, 1] * columns + centre[0] + shift[0]
    x = matrix[1, 0] * rows + matrix[1, 1] * columns + centre[1] + shift[1]
    # With a black frame around it, two pixels wide, whatever lies outside can be
    # clipped to the frame, and the neighbours below and to the right always exist.
    image = pad(image, 2, IGNORE_LABEL if labels else BLACK)
    y, x = (y + 2).clip(0, height + 2), (x + 2).clip(0, width + 2)
    if labels:
        return image[..., np.rint(y).astype(np.intp), np.rint(x).astype(np.intp), :]
    top, left = y.astype(np.intp), x.astype(np.intp)
    dy = (y - top).astype(image.dtype)[..., None]
    dx = (x - left).astype(image.dtype)[..., None]
    below, right = top + 1, left + 1
    upper = image[..., top, left, :] * (1 - dx) + image[..., top, right, :] * dx
    lower = image[..., below, left, :] * (1 - dx) + image[..., below, right, :] * dx
    return upper * (1 - dy) + lower * dy


def pad(
    image: Shaped[np.ndarray, "*t h w c"], width: int, value: float | int
) -> Shaped[np.ndarray, "*t _h _w c"]:
    """Returns the image with a frame of one value around it.

    Args:
      image: an image or a label map.
      width: of the frame, in pixels.
      value: what it is filled with.
    """
    sides = [(0, 0)] * (image.ndim - 3) + [(width, width)] * 2 + [(0, 0)]
    return np.pad(image, sides, constant_values=value)


def centre(
    image: UInt8[np.ndarray, "*t h w c"], share: float
) -> UInt8[np.ndarray, "*t s s c"]:
    """Returns the square in the middle, whose side is a share of the shorter side."""
    height, width = image.shape[-3:-1]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side, :]


def resize(
    image: UInt8[np.ndarray, "*t h w c"], size: int, labels: bool = False
) -> UInt8[np.ndarray, "*t s s c"]:
    """Returns the image at size x size: bilinear, averaging where it shrinks.

    Args:
      image: an image or a label map.
      size: rows and columns of the result.
      labels: whether it is a label map, of which each pixel takes the nearest label.
    """
    if image.shape[-3:-1] == (size, size):
        return image
    if image.ndim > 3:
        return np.stack([resize(frame, size, labels) for frame in image])
    how = Image.Resampling.NEAREST if labels else Image.Resampling.BILINEAR
    planes = (Image.fromarray(image[..., i]) for i in range(image.shape[-1]))
    resized = (p.resize((size, size), how) for p in planes)
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)


def normalise(image: UInt8[np.ndarray, "*t h w c"]) -> Float[np.ndarray, "*t h w c"]:
    """Returns the image as float32 in [-1, 1]."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
