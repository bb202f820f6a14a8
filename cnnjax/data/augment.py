"""Random changes of one image on the host: crops, flips, RandAugment, erasing.

Each is a function `(image, rng) -> image`, so that they can be composed. Those of this
file take and return images of bytes, but for `RandomErasing`, which comes last.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageEnhance, ImageOps

from cnnjax.data import transforms


Pixels = UInt8[np.ndarray, "_ _ c"]


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


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop:
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

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Returns [size, size, c]."""
        box = _box(image, self.area, self.ratio, rng)
        if box is None:
            height, width = image.shape[:2]
            h = min(height, round(width / self.ratio[0]))
            w = min(width, round(height * self.ratio[1]))
            top, left = (height - h) // 2, (width - w) // 2
            box = (slice(top, top + h), slice(left, left + w))
        return transforms.resize(image[box], self.size)


@dataclasses.dataclass(frozen=True)
class RandomCrop:
    """The image behind a black frame, moved by up to the frame's width.

    Attributes:
      padding: width of the frame, in pixels.

    Source: He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2.
    """

    padding: int = 4

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Returns an image of the same shape."""
        height, width = image.shape[:2]
        sides = ((self.padding, self.padding), (self.padding, self.padding), (0, 0))
        top, left = rng.integers(2 * self.padding + 1, size=2)
        return np.pad(image, sides)[top : top + height, left : left + width]


@dataclasses.dataclass(frozen=True)
class RandomFlip:
    """The image, or its mirror image, each as often."""

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Returns an image of the same shape."""
        return image[:, ::-1] if rng.random() < 0.5 else image


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
        box = _box(image, self.area, self.ratio, rng)
        if box is not None:
            image = image.copy()
            image[box] = rng.standard_normal(image[box].shape)
        return image


def _box(
    image: np.ndarray,
    areas: tuple[float, float],
    ratios: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[slice, slice] | None:
    """Draws rows and columns of a random part; None if ten tries do not fit."""
    height, width = image.shape[:2]
    for _ in range(10):
        area = rng.uniform(*areas) * height * width
        ratio = np.exp(rng.uniform(*np.log(ratios)))
        h, w = round(np.sqrt(area / ratio)), round(np.sqrt(area * ratio))
        if 0 < h <= height and 0 < w <= width:
            top = int(rng.integers(height - h + 1))
            left = int(rng.integers(width - w + 1))
            return slice(top, top + h), slice(left, left + w)
    return None


_GREY = (128, 128, 128)  # What enters where an image is moved.


def _affine(image: Image.Image, *matrix: float | int) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BILINEAR,
        fillcolor=_GREY,
    )


# Of an image and a strength in [0, 1]; signed ones in [-1, 1].
_PLAIN: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, _: image,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "posterize": lambda image, s: ImageOps.posterize(image, 8 - round(4 * s)),
    "solarize": lambda image, s: ImageOps.solarize(image, round(256 * (1 - s))),
}
_SIGNED: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "rotate": lambda image, s: image.rotate(
        30 * s, resample=Image.Resampling.BILINEAR, fillcolor=_GREY
    ),
    "shear_x": lambda image, s: _affine(image, 1, 0.3 * s, 0, 0, 1, 0),
    "shear_y": lambda image, s: _affine(image, 1, 0, 0, 0.3 * s, 1, 0),
    "translate_x": lambda image, s: _affine(image, 1, 0, image.width * s / 2, 0, 1, 0),
    "translate_y": lambda image, s: _affine(image, 1, 0, 0, 0, 1, image.height * s / 2),
    "colour": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
}


@dataclasses.dataclass(frozen=True)
class RandAugment:
    """Some of fourteen changes of colour and geometry, all of one strength.

    Attributes:
      count: how many, one after the other.
      magnitude: their strength, of 10; rotations of up to 30 degrees, shears of 0.3,
        shifts of half of the image, colours by 0.9, in either direction.

    Source: Cubuk et al., 2019, https://arxiv.org/abs/1909.13719; ranges of AutoAugment.
    """

    count: int = 2
    magnitude: float = 9.0

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """Returns an image of the same shape: RGB, or grey as three like channels."""
        grey = image.shape[-1] == 1
        picture = Image.fromarray(np.repeat(image, 3, axis=-1) if grey else image)
        strength = self.magnitude / 10
        for name in rng.choice([*_PLAIN, *_SIGNED], size=self.count):
            if name in _PLAIN:
                picture = _PLAIN[name](picture, strength)
            else:
                sign = 1 if rng.random() < 0.5 else -1
                picture = _SIGNED[name](picture, sign * strength)
        pixels = np.asarray(picture)
        return pixels[..., :1] if grey else pixels
