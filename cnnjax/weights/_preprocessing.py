"""What photographs go through before they reach a network."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps


# Mean and standard deviation of ImageNet's training images, with which nearly all its
# weights were trained; red, green and blue in 0 to 1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From a photograph of any size to the network's normalised image.

    The shorter side becomes `image_size / crop`; what the centre shows of `image_size`
    squared is `(pixels / 255 - mean) / std`. It belongs to the weights, not to the
    architecture: others have been trained with others.

    Attributes:
      image_size: rows and columns of the result.
      crop: share of the shorter side that is kept.
      mean, std: of red, green and blue in 0 to 1.
      interpolation: of the resize.
    """

    image_size: int = 224
    crop: float = 0.875
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"

    def __call__(self, photo: Image.Image) -> Float[np.ndarray, "h w 3"]:
        """Prepares a photograph, turned upright as its EXIF data says."""
        photo = ImageOps.exif_transpose(photo)
        scale = int(self.image_size / self.crop) / min(photo.size)
        width, height = (max(self.image_size, int(side * scale)) for side in photo.size)
        resampling = Image.Resampling[self.interpolation.upper()]
        left, top = ((side - self.image_size) // 2 for side in (width, height))
        photo = photo.resize((width, height), resampling).crop(
            (left, top, left + self.image_size, top + self.image_size)
        )
        return self.normalise(photo)

    def fit(
        self, photo: Image.Image
    ) -> tuple[Float[np.ndarray, "s s 3"], tuple[int, int]]:
        """Prepares all that a photograph shows, not turned, as detectors take it.

        Its longer side becomes `image_size`; below and on its right there are zeros.

        Returns:
          The image; and rows and columns of the photograph in it.
        """
        scale = self.image_size / max(photo.size)
        width, height = (max(1, round(side * scale)) for side in photo.size)
        resampling = Image.Resampling[self.interpolation.upper()]
        image = self.normalise(photo.resize((width, height), resampling))
        sides = ((0, self.image_size - height), (0, self.image_size - width), (0, 0))
        return np.pad(image, sides), (height, width)

    def normalise(self, photo: Image.Image) -> Float[np.ndarray, "h w 3"]:
        """Prepares a photograph as it is: neither turned nor resized."""
        pixels = np.asarray(photo.convert("RGB"), np.float32) / 255
        mean, std = (np.asarray(a, np.float32) for a in (self.mean, self.std))
        return (pixels - mean) / std
