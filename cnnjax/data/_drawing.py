"""Digits of any size on textured backgrounds, drawn in NumPy; colours in [0, 1]."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


def background(
    rng: np.random.Generator, size: int, channels: int
) -> Float[np.ndarray, "s s c"]:
    """Draws a dark texture: a gradient, clouds and stripes, each of a random colour.

    Args:
      rng: where it comes from.
      size: rows and columns.
      channels: 1 or 3.
    """
    rows, columns = np.mgrid[:size, :size] / size - 0.5

    def wave() -> np.ndarray:  # The way along a random direction.
        angle = rng.uniform(0, 2 * np.pi)
        return np.cos(angle) * rows + np.sin(angle) * columns

    cells = rng.integers(4, 9)
    clouds = enlarge(rng.uniform(-1, 1, (cells, cells)), size)
    stripes = np.sin(2 * np.pi * (rng.uniform(3, 10) * wave() + rng.random()))
    layers = ((wave(), 0.5), (clouds, 0.2), (stripes, 0.06))
    image = np.tile(rng.uniform(0.1, 0.5, channels), (size, size, 1))
    for layer, strength in layers:
        image += layer[..., None] * rng.uniform(-strength, strength, channels)
    return image.clip(0, 1)


def enlarge(image: Float[np.ndarray, "n n"], size: int) -> Float[np.ndarray, "s s"]:
    """Returns the image at size x size: each pixel is spread as a Gaussian."""
    cells = len(image)
    centres = (np.arange(size) + 0.5) * (cells / size) - 0.5
    weights = np.exp(-3 * (centres[:, None] - np.arange(cells)) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ image @ weights.T


def stroke(digit: UInt8[np.ndarray, "8 8"], size: int) -> Float[np.ndarray, "s s"]:
    """Returns how much of each pixel a digit's stroke covers, with a soft edge."""
    ink = enlarge(digit / 255, size)
    return ((ink - 0.3) / 0.4).clip(0, 1)


def window(
    size: int, side: int, top: np.integer, left: np.integer
) -> tuple[Int[np.ndarray, "s 1"], Int[np.ndarray, "1 s"]]:
    """Returns the rows and columns of a square; what leaves an image enters opposite.

    Args:
      size: rows and columns of the image.
      side: rows and columns of the square.
      top: its first row.
      left: its first column.
    """
    steps = np.arange(side)
    return (top + steps[:, None]) % size, (left + steps[None]) % size


def covered(cover: Float[np.ndarray, "s s"]) -> Bool[np.ndarray, "s s"]:
    """Returns which pixels show more of a stroke than of what lies below it."""
    return cover > 0.5


def colour(
    rng: np.random.Generator, below: Float[np.ndarray, " c"]
) -> Float[np.ndarray, " c"]:
    """Draws a colour whose grey is 0.35 to 0.6 above that of what lies below."""
    shade = below.mean() + rng.uniform(0.35, 0.6)
    tint = rng.uniform(-0.15, 0.15, len(below))
    return (shade + tint - tint.mean()).clip(0, 1)


def paint(
    image: Float[np.ndarray, "h w c"],
    where: tuple[np.ndarray, np.ndarray],
    cover: Float[np.ndarray, "s s"],
    ink: Float[np.ndarray, " c"],
) -> None:
    """Puts ink on a window of the image, as far as a stroke covers it."""
    below = image[where]
    image[where] = below + cover[..., None] * (ink - below)


def film(
    back: Float[np.ndarray, "s s c"],
    strokes: Sequence[Float[np.ndarray, "_ _"]],
    inks: Sequence[Float[np.ndarray, " c"]],
    corners: Int[np.ndarray, "t k 2"],
) -> tuple[Float[np.ndarray, "t s s c"], Float[np.ndarray, " k"]]:
    """Draws moving strokes, later ones on top of earlier ones.

    Args:
      back: what lies below all of them.
      strokes: cover of the square of each, as `stroke` returns it.
      inks: colour of each.
      corners: row and column of the first pixel of each square, in each frame.

    Returns:
      The frames; and of each stroke the share that is to be seen where most of it is.
    """
    frames, shares = [], []
    size = len(back)
    masks = [covered(stroke) for stroke in strokes]
    areas = [mask.sum() for mask in masks]
    for places in corners:
        frame, owners = back.copy(), np.zeros((size, size), np.uint8)
        for i, (top, left) in enumerate(places):
            where = window(size, len(strokes[i]), top, left)
            paint(frame, where, strokes[i], inks[i])
            owners[where] = np.where(masks[i], i + 1, owners[where])
        frames.append(frame)
        shares.append(np.bincount(owners.ravel(), minlength=len(areas) + 1)[1:] / areas)
    return np.stack(frames), np.max(shares, axis=0)


def pixels(image: Float[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """Returns the image in bytes."""
    return np.round(image * 255).astype(np.uint8)
