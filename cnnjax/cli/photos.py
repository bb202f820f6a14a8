"""Photographs, as commands name them."""

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from cnnjax import errors


def open_photo(path: Path) -> Image.Image:
    """Returns an RGB image, turned upright as its EXIF data says.

    Raises:
      UserError: if there is no such file, or Pillow cannot read it.
    """
    try:
        with Image.open(path) as file:
            return ImageOps.exif_transpose(file).convert("RGB")
    except FileNotFoundError as error:
        raise errors.UserError(f"there is no file {path}") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise errors.UserError(
            f"{path} cannot be read as a picture: {error}"
        ) from error


def in_channels(photo: Image.Image, channels: int) -> Image.Image:
    """Returns an RGB image as a network sees it: grey if it has one channel only."""
    return photo if channels == 3 else photo.convert("L")
