"""Running networks on images that they do not take as they are.

Each function takes the network as a function `apply` of images [n, h, w, c] that
returns maps [n, h2, w2, k], compiled before: `predict_tiled` and `predict_sliding` call
it with tiles of one shape only. These two are loops on the host: images (or a file that
NumPy maps) and results stay there, one tile at a time is on the device. The other two
can be traced.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import ops


Images = Any  # [n, h, w, c], of NumPy or JAX.
Apply = Callable[[Any], Any]


def predict_padded(apply: Apply, images: Images, stride: int) -> Any:
    """Predicts images whose sides need not be multiples of the network's stride.

    They are mirrored at the bottom and on the right, and what comes back is cropped.

    Args:
      apply: the network; returns maps of its images' size.
      images: [n, h, w, c].
      stride: what it takes multiples of, as a model's `stride`.

    Returns:
      [n, h, w, k].

    Raises:
      ValueError: if the images have no pixels, or the stride is less than 1.
    """
    _check(images, stride)
    height, width = images.shape[1:3]
    window = [-(-side // stride) * stride for side in (height, width)]
    return apply(_cut(images, (0, 0), window))[:, :height, :width]


def predict_tiled(
    apply: Apply,
    images: Images,
    tile: int | tuple[int, int],
    *,
    margin: int,
    stride: int,
) -> np.ndarray:
    """Predicts images of any size tile by tile, of each tile its middle.

    Tiles overlap by the context that their middles need; around the image it is
    mirrored. The result equals that of one tile around the whole image. It also equals
    what a padded network says of the image as it is, but for `margin` pixels along the
    border, if `margin` is at least half the network's receptive field
    (`cnnjax.cost.receptive_field`).

    Args:
      apply: the network; it may return smaller maps, whose centre is the tile's.
      images: [n, h, w, c].
      tile: (rows, columns) that it takes, or one number for both.
      margin: pixels on each side of a tile whose result is missing or not used. A
        model's `margin` at least; for a padded network a multiple of its stride.
      stride: pixels of the coarsest map, as a model's `stride`: tiles lie at multiples
        of it, since networks are equivariant to no other shifts.

    Returns:
      [n, h, w, k] of the dtype that apply returns.

    Raises:
      ValueError: if the images have no pixels, the margins leave too little of a tile,
        or apply returns less than they do.

    Source: Ronneberger et al., 2015, https://arxiv.org/abs/1505.04597, Fig. 2.
    """
    tile = _pair(tile)
    _check(images, stride)
    steps = [(side - 2 * margin) // stride * stride for side in tile]
    if margin < 0 or min(steps) < 1:
        raise ValueError(
            f"a margin of {margin} leaves less than a stride, {stride} pixels, of a "
            f"tile of {tile[0]}x{tile[1]}"
        )
    height, width = images.shape[1:3]

    def predict(top: int, left: int) -> np.ndarray:
        y = np.asarray(apply(_cut(images, (top - margin, left - margin), tile)))
        return _middle(y, tile, margin)[:, : steps[0], : steps[1]]

    rows = [
        np.concatenate([predict(i, j) for j in range(0, width, steps[1])], axis=2)
        for i in range(0, height, steps[0])
    ]
    return np.concatenate(rows, axis=1)[:, :height, :width]


def predict_sliding(
    apply: Apply,
    images: Images,
    window: int | tuple[int, int],
    step: int | tuple[int, int],
) -> np.ndarray:
    """Predicts images of any size by the mean over all windows that contain a pixel.

    An image smaller than a window is mirrored at the bottom and on the right.

    Args:
      apply: the network; returns maps of the window's size. Their values are averaged,
        be they logits or probabilities.
      images: [n, h, w, c].
      window: (rows, columns) of a window, or one number for both.
      step: from one window to the next, at most the window; the last ones of an axis
        end with the image.

    Returns:
      [n, h, w, k], float32.

    Raises:
      ValueError: if the images have no pixels, or the step is not from 1 to the window.
    """
    window, step = _pair(window), _pair(step)
    _check(images)
    if not all(1 <= s <= w for s, w in zip(step, window, strict=True)):
        raise ValueError(f"a step of {step} must be from 1 to the window, {window}")
    height, width = images.shape[1:3]
    total: Any = None
    count = np.zeros((height, width, 1), np.float32)
    for top in _starts(height, window[0], step[0]):
        for left in _starts(width, window[1], step[1]):
            y = np.asarray(apply(_cut(images, (top, left), window)))
            if total is None:
                shape = (len(y), height, width, y.shape[-1])
                total = np.zeros(shape, np.float32)
            part = total[:, top : top + window[0], left : left + window[1]]
            part += y[:, : part.shape[1], : part.shape[2]]
            count[top : top + window[0], left : left + window[1]] += 1
    return total / count[None]


def predict_multiscale(
    apply: Apply,
    images: Images,
    scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
    flip: bool = True,
) -> Float[Array, "n h w k"]:
    """Predicts the mean over images of several sizes, and over their mirror images.

    Args:
      apply: the network; returns maps of its images' size. Their values are averaged,
        be they logits or probabilities. It is called with every size, so that
        `predict_padded` may have to stand before a network that does not take all.
      images: [n, h, w, c].
      scales: of rows and columns, by bilinear interpolation (default: DeepLab's).
      flip: whether left and right are exchanged, too.

    Returns:
      [n, h, w, k].

    Raises:
      ValueError: if the images have no pixels, there are no scales, or one is not
        positive.

    Source: Chen et al., 2017, https://arxiv.org/abs/1706.05587, section 4.1.
    """
    _check(images)
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must be positive, at least one, not {scales}")
    size, found = images.shape[1:3], []
    for scale in scales:
        scaled = [max(1, round(scale * side)) for side in size]
        x = ops.resize_bilinear(images, scaled)
        y = apply(x)
        if flip:
            y = (y + apply(x[:, :, ::-1])[:, :, ::-1]) / 2
        found.append(ops.resize_bilinear(y, size))
    return jnp.mean(jnp.stack(found), axis=0)


def _cut(images: Images, start: Sequence[int], size: Sequence[int]) -> Images:
    """Returns a window of images; beyond their borders it shows their mirror images."""
    rows, columns = (
        _mirror(np.arange(first, first + count), side)
        for first, count, side in zip(start, size, images.shape[1:3], strict=True)
    )
    return images[:, rows][:, :, columns]


def _mirror(places: np.ndarray, size: int) -> np.ndarray:
    """Returns the pixels 0 to size - 1 that stand at places before, in and after them.

    The first and the last are not repeated: -1 is 1.
    """
    places = abs(places) % max(1, 2 * (size - 1))
    return np.where(places < size, places, 2 * (size - 1) - places)


def _middle(y: np.ndarray, tile: tuple[int, int], margin: int) -> np.ndarray:
    """Returns what the margins leave of a tile's result, from its top and left."""
    lost = [side - found for side, found in zip(tile, y.shape[1:3], strict=True)]
    if any(loss % 2 or not 0 <= loss <= 2 * margin for loss in lost):
        raise ValueError(
            f"the network returns {y.shape[1]}x{y.shape[2]} pixels for a tile of "
            f"{tile[0]}x{tile[1]}, which a margin of {margin} does not fit"
        )
    top, left = (margin - loss // 2 for loss in lost)
    return y[:, top : y.shape[1] - top, left : y.shape[2] - left]


def _starts(side: int, window: int, step: int) -> Iterator[int]:
    """Yields where windows begin."""
    last = max(0, side - window)
    yield from range(0, last, step)
    yield last


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _check(images: Images, stride: int = 1) -> None:
    if len(images.shape) != 4 or 0 in images.shape[1:3]:
        raise ValueError(
            f"images must be [n, h, w, c] with pixels, not of shape {images.shape}"
        )
    if stride < 1:
        raise ValueError(f"stride must be at least 1, not {stride}")
