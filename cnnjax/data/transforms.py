"""What happens to one image on the host, in NumPy.

An image is [h, w, c]. A clip [t, h, w, c] is one too: all frames are treated alike. So
is a label map [h, w, 1], where a function can be told so: it is never interpolated, and
what enters from outside is IGNORE_LABEL. Objects are a dict of arrays with one row for
each, as `cnnjax.data.DetectionSource` has them; their boxes and masks follow.
"""

import abc
import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image


BLACK = -1.0  # As `normalise` returns it.
IGNORE_LABEL = 255  # Of a pixel that is not to be counted.


Objects = dict[str, np.ndarray]

LEAST_LEFT = 0.25  # Of an object's box; with less of it an object does not count.


@dataclasses.dataclass(frozen=True)
class Move:
    """One change of where things are.

    Attributes:
      pixels: moves an image, or, if its second argument is true, a label map.
      matrix: moves points: (x, y) goes to `matrix @ (x, y, 1)`, in pixels from the
        upper left corners of the image before and after.
    """

    pixels: Callable[[np.ndarray, bool], np.ndarray]
    matrix: Float[np.ndarray, "2 3"]


class Geometric(abc.ABC):
    """A random change of where things are, which label maps and objects can follow."""

    @abc.abstractmethod
    def draw(self, height: int, width: int, rng: np.random.Generator) -> Move:
        """Draws what happens to images of this size and to what is in them."""

    def __call__(
        self, image: Shaped[np.ndarray, "*t h w c"], rng: np.random.Generator
    ) -> Shaped[np.ndarray, "*t _h _w c"]:
        """Returns the image under one random change."""
        height, width = image.shape[-3:-1]
        return self.draw(height, width, rng).pixels(image, False)

    def joint(
        self,
        image: Shaped[np.ndarray, "h w c"],
        label: UInt8[np.ndarray, "h w"] | Objects,
        rng: np.random.Generator,
    ) -> tuple[Shaped[np.ndarray, "_h _w c"], UInt8[np.ndarray, "_h _w"] | Objects]:
        """Returns the image and its label map or objects under one random change."""
        height, width = image.shape[:2]
        move = self.draw(height, width, rng)
        moved = move.pixels(image, False)
        if isinstance(label, dict):
            return moved, follow(label, move, moved.shape[:2])
        return moved, move.pixels(label[..., None], True)[..., 0]


def follow(objects: Objects, move: Move, size: tuple[int, ...]) -> Objects:
    """Returns the objects of an image that has been moved.

    Boxes become the smallest around their moved corners, cut at the sides of the image.
    An object with less than a quarter of that box left in the image no longer counts:
    it is ignored. One with nothing left is gone: its row is zeros. But one that is
    whole, and too small for its mask to have a pixel, has the one in its box's middle.

    Args:
      objects: as `DetectionSource` has them.
      move: what happened to the image.
      size: rows and columns of the image now.
    """
    height, width = size
    corners = objects["boxes_xyxy"][:, [[0, 1], [2, 1], [2, 3], [0, 3]]]
    corners = corners @ move.matrix[:, :2].T + move.matrix[:, 2]
    hull = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes = hull.clip(0, (width, height, width, height))
    left, whole = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, hull))
    there = (objects["valid"] | objects["ignored"]) & (left > 0)
    moved = {}
    if "masks" in objects:
        masks = np.zeros((len(there), height, width), bool)
        if there.any():
            planes = objects["masks"][there].transpose(1, 2, 0).astype(np.uint8)
            masks[there] = move.pixels(planes, True).transpose(2, 0, 1) == 1
        for i in np.flatnonzero(there & ~masks.any(axis=(1, 2)) & (left == whole)):
            x, y = ((boxes[i, :2] + boxes[i, 2:]) / 2).astype(int)
            masks[i, y, x] = True
        there &= masks.any(axis=(1, 2))
        moved["masks"] = masks
    valid = objects["valid"] & there & (left >= LEAST_LEFT * whole)
    return (
        objects
        | moved
        | {
            "boxes_xyxy": np.where(there[:, None], boxes, 0).astype(np.float32),
            "labels": np.where(there, objects["labels"], np.int32(0)),
            "photo_areas": np.where(there, objects["photo_areas"], np.float32(0)),
            "valid": valid,
            "ignored": there & ~valid,
        }
    )


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
        # Pixels say whence they come, points where they go; and those are (x, y).
        inverse = np.linalg.inv(matrix)
        middle = np.array([height, width]) / 2
        back = middle - inverse @ (middle + offset)
        return Move(
            lambda image, labels: affine(image, matrix, offset, labels),
            np.column_stack([inverse[::-1, ::-1], back[::-1]]),
        )


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
    image: UInt8[np.ndarray, "*t h w c"],
    size: int | tuple[int, int],
    labels: bool = False,
) -> UInt8[np.ndarray, "*t _h _w c"]:
    """Returns the image at another size: bilinear, averaging where it shrinks.

    Args:
      image: an image or a label map.
      size: rows and columns of the result, or both at once.
      labels: whether it is a label map, of which each pixel takes the nearest label.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if image.shape[-3:-1] == (height, width):
        return image
    if image.ndim > 3:
        return np.stack([resize(frame, size, labels) for frame in image])
    how = Image.Resampling.NEAREST if labels else Image.Resampling.BILINEAR
    planes = (Image.fromarray(image[..., i]) for i in range(image.shape[-1]))
    resized = (p.resize((width, height), how) for p in planes)
    return np.stack([np.asarray(plane) for plane in resized], axis=-1)


def fit(
    image: UInt8[np.ndarray, "h w c"], objects: Objects, size: int
) -> tuple[UInt8[np.ndarray, "_h _w c"], Objects]:
    """Returns the whole image, its longer side at `size`, and its objects."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    matrix = np.array([[columns / width, 0.0, 0.0], [0.0, rows / height, 0.0]])
    move = Move(lambda image, labels: resize(image, (rows, columns), labels), matrix)
    return move.pixels(image, False), follow(objects, move, (rows, columns))


def fill_up(
    image: Float[np.ndarray, "h w c"], objects: Objects, size: int
) -> tuple[Float[np.ndarray, "s s c"], Objects]:
    """Returns the image with zeros below and on its right, and its objects.

    Args:
      image: a normalised image.
      objects: as `DetectionSource` has them.
      size: rows and columns of the result.

    Returns:
      The image, and the objects, which now have "sizes": int32 [2], the image's rows
      and columns before.

    Raises:
      ValueError: if the image is larger than that.
    """
    height, width = image.shape[:2]
    if max(height, width) > size:
        raise ValueError(
            f"an image of {height} x {width} pixels has no place in {size} x {size}: "
            "what changes normalised images must not enlarge them"
        )
    sides = ((0, size - height), (0, size - width))
    added = {"sizes": np.array([height, width], np.int32)}
    if "masks" in objects:
        added["masks"] = np.pad(objects["masks"], ((0, 0), *sides))
    return np.pad(image, (*sides, (0, 0))), objects | added


def normalise(image: UInt8[np.ndarray, "*t h w c"]) -> Float[np.ndarray, "*t h w c"]:
    """Returns the image as float32 in [-1, 1]."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
