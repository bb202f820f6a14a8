"""RandAugment: a few of fourteen random changes of colour and geometry."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageOps


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

    def __call__(
        self, image: UInt8[np.ndarray, "h w c"], rng: np.random.Generator
    ) -> UInt8[np.ndarray, "h w c"]:
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
