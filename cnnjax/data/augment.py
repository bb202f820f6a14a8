"""Random changes of one image on the host: crops, flips, jitter, erasing.

Each is a function `(image, rng) -> image`, so that they can be composed. Those of this
file take and return images of bytes, but for `RandomErasing`, which comes last. Where
label maps and objects (dicts, as `DetectionSource` has them) can follow, it has a
method `joint(image, label, rng) -> (image, label)`.
Crops, flips and jitter treat all frames of a clip [t, h, w, c] alike.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from cnnjax.data import transforms


Label = np.ndarray | transforms.Objects
"""A label map, or objects."""


@dataclasses.dataclass(frozen=True)
class Compose:
    """Several changes, one after the other.

    Attributes:
      changes: functions `(image, rng) -> image`.
    """

    changes: Sequence[Callable[[np.ndarray, np.random.Generator], np.ndarray]]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the image after the last one."""
        for change in self.changes:
            image = change(image, rng)
        return image

    def joint(
        self, image: np.ndarray, label: Label, rng: np.random.Generator
    ) -> tuple[np.ndarray, Label]:
        """Returns the image and its label map or objects after the last one."""
        for change in self.changes:
            image, label = jointly(change, image, label, rng)
        return image, label


def jointly(
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    image: np.ndarray,
    label: Label,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Label]:
    """Returns an image and its label map or objects after a change.

    Raises:
      TypeError: if the change has no method `joint`, which makes it to both.
    """
    joint = getattr(change, "joint", None)
    if joint is None:
        raise TypeError(
            f"{change} changes images only; for label maps and objects it needs "
            "a method `joint(image, label, rng) -> (image, label)`"
        )
    return joint(image, label, rng)


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(transforms.Geometric):
    """A random part of the image, at one size.

    The part has a share of the area that is uniform in `area`, and a width by height
    whose logarithm is uniform in that of `ratio`; where ten tries do not fit, it is the
    largest in the middle.

    Attributes:
      size: rows and columns of the result.
      area: the least and the largest share.
      ratio: the least and the largest width by height.

    Source: Szegedy et al., 2014, https://arxiv.org/abs/1409.4842, section 6.
    """

    size: int
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def draw(
        self, height: int, width: int, rng: np.random.Generator
    ) -> transforms.Move:
        """Draws a part of images of bytes."""
        box = _box(height, width, self.area, self.ratio, rng)
        if box is None:
            h = min(height, round(width / self.ratio[0]))
            w = min(width, round(height * self.ratio[1]))
            top, left = (height - h) // 2, (width - w) // 2
            box = (slice(top, top + h), slice(left, left + w))
        part = (..., *box, slice(None))
        rows, columns = box
        y, x = (self.size / (side.stop - side.start) for side in box)
        return transforms.Move(
            lambda image, labels: transforms.resize(image[part], self.size, labels),
            np.array([[x, 0.0, -x * columns.start], [0.0, y, -y * rows.start]]),
        )


@dataclasses.dataclass(frozen=True)
class RandomCrop(transforms.Geometric):
    """The image behind a black frame, moved by up to the frame's width.

    Attributes:
      padding: width of the frame, in pixels.

    Source: He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2.
    """

    padding: int = 4

    def draw(
        self, height: int, width: int, rng: np.random.Generator
    ) -> transforms.Move:
        """Draws a shift of images of bytes."""
        top, left = rng.integers(2 * self.padding + 1, size=2)

        def move(image: np.ndarray, labels: bool) -> np.ndarray:
            frame = transforms.IGNORE_LABEL if labels else 0
            padded = transforms.pad(image, self.padding, frame)
            return padded[..., top : top + height, left : left + width, :]

        shift = (self.padding - left, self.padding - top)
        return transforms.Move(move, np.column_stack([np.eye(2), shift]))


@dataclasses.dataclass(frozen=True)
class RandomFlip(transforms.Geometric):
    """The image, or its mirror image, each as often."""

    def draw(
        self, height: int, width: int, rng: np.random.Generator
    ) -> transforms.Move:
        """Draws whether images are mirrored."""
        step = -1 if rng.random() < 0.5 else 1
        return transforms.Move(
            lambda image, labels: image[..., ::step, :],
            np.array([[step, 0.0, width * (step < 0)], [0.0, 1.0, 0.0]]),
        )


@dataclasses.dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast and saturation times random factors.

    Each factor is drawn uniformly from 1 - limit to 1 + limit; 0 turns it off.

    Attributes:
      brightness: limit of the factor on all values.
      contrast: limit of that on their differences from the image's mean.
      saturation: limit of that on their differences from the pixel's own grey.

    Source: Howard, 2013, https://arxiv.org/abs/1312.5402, section 2.2.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4

    def __call__(
        self, image: UInt8[np.ndarray, "*t h w c"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "*t h w c"]:
        """Returns an image of the same shape."""
        limits = np.array([self.brightness, self.contrast, self.saturation])
        factors = rng.uniform(1 - limits, 1 + limits).astype(np.float32)
        brightness, contrast, saturation = factors
        pixels = image * brightness
        mean = pixels.mean()
        pixels = mean + contrast * (pixels - mean)
        grey = pixels.mean(axis=-1, keepdims=True)
        pixels = grey + saturation * (pixels - grey)
        return np.rint(pixels).clip(0, 255).astype(np.uint8)

    def joint(
        self, image: np.ndarray, label: Label, rng: np.random.Generator
    ) -> tuple[np.ndarray, Label]:
        """Returns the image in other colours, and its label map or objects as is."""
        return self(image, rng), label


@dataclasses.dataclass(frozen=True)
class RandomErasing:
    """A box of the image is replaced by noise; comes after normalisation.

    Attributes:
      probability: of images with a box.
      area: the least and the largest share of the area.
      ratio: the least and the largest width by height.

    Source: Zhong et al., 2017, https://arxiv.org/abs/1708.04896.
    """

    probability: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    def __call__(
        self, image: Float[np.ndarray, "h w c"], rng: np.random.Generator
    ) -> Float[np.ndarray, "h w c"]:
        """Returns an image of the same shape."""
        if rng.random() >= self.probability:
            return image
        height, width = image.shape[:2]
        box = _box(height, width, self.area, self.ratio, rng)
        if box is not None:
            image = image.copy()
            image[box] = rng.standard_normal(image[box].shape)
        return image


def _box(
    height: int,
    width: int,
    areas: tuple[float, float],
    ratios: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[slice, slice] | None:
    """Draws rows and columns of a random part; None if ten tries do not fit."""
    for _ in range(10):
        area = rng.uniform(*areas) * height * width
        ratio = np.exp(rng.uniform(*np.log(ratios)))
        h, w = round(np.sqrt(area / ratio)), round(np.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            top = int(rng.integers(height - h + 1))
            left = int(rng.integers(width - w + 1))
            return slice(top, top + h), slice(left, left + w)
    return None
