"""What happens to one image on the host, in NumPy."""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image


BLACK = -1.0  # As `normalise` returns it.


@dataclasses.dataclass(frozen=True)
class RandomAffine:
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

    def __call__(
        self, image: Float[np.ndarray, "h w c"], rng: np.random.Generator
    ) -> Float[np.ndarray, "h w c"]:
        """Returns the image under one random transformation, black around it."""
        angle, scale, shear, *shift = rng.uniform(-1.0, 1.0, 5)
        angle = np.deg2rad(angle * self.rotation)
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        shears = np.array([[1.0, 0.0], [shear * self.shear, 1.0]])
        matrix = rotation @ shears / (1.0 + scale * self.scale)
        return affine(image, matrix, self.shift * np.array(shift) * image.shape[:2])


def affine(
    image: Float[np.ndarray, "h w c"],
    matrix: Float[np.ndarray, "2 2"],
    shift: Float[np.ndarray, "2"],
) -> Float[np.ndarray, "h w c"]:
    """Samples the image at `matrix @ (p - centre) + centre + shift` for each pixel p.

    Args:
      image: a normalised image.
      matrix: maps output to input coordinates (row, column) around the centre.
      shift: offset (rows, columns), in pixels.

    Returns:
      The image of the same shape, interpolated bilinearly; outside of it is BLACK.
    """
    height, width = image.shape[:2]
    centre = (np.array([height, width]) - 1) / 2
    rows, columns = np.ogrid[:height, :width]
    rows, columns = rows - centre[0], columns - centre[1]
    y = matrix[0, 0] * rows + matrix[0, 1] * columns + centre[0] + shift[0]
    x = matrix[1, 0] * rows + matrix[1, 1] * columns + centre[1] + shift[1]
    # With a black frame around it, two pixels wide, whatever lies outside can be
    # clipped to the frame, and the neighbours below and to the right always exist.
    image = np.pad(image, ((2, 2), (2, 2), (0, 0)), constant_values=BLACK)
    y, x = (y + 2).clip(0, height + 2), (x + 2).clip(0, width + 2)
    top, left = y.astype(np.intp), x.astype(np.intp)
    dy = (y - top).astype(image.dtype)[..., None]
    dx = (x - left).astype(image.dtype)[..., None]
    upper = image[top, left] * (1 - dx) + image[top, left + 1] * dx
    lower = image[top + 1, left] * (1 - dx) + image[top + 1, left + 1] * dx
    return upper * (1 - dy) + lower * dy


def centre(
    image: UInt8[np.ndarray, "h w c"], share: float
) -> UInt8[np.ndarray, "s s c"]:
    """Returns the square in the middle, whose side is a share of the shorter side."""
    height, width = image.shape[:2]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def resize(image: UInt8[np.ndarray, "h w c"], size: int) -> UInt8[np.ndarray, "s s c"]:
    """Returns the image at size x size: bilinear, averaging where it shrinks."""
    if image.shape[:2] == (size, size):
        return image
    planes = (Image.fromarray(image[..., i]) for i in range(image.shape[-1]))
    resized = (p.resize((size, size), Image.Resampling.BILINEAR) for p in planes)
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)


def normalise(image: UInt8[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w c"]:
    """Returns the image as float32 in [-1, 1]."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
