"""Objects' masks in their places."""

import numpy as np
from jaxtyping import Bool, Float


def paste_masks(
    masks: Float[np.ndarray, "k h w"],
    boxes_xyxy: Float[np.ndarray, "k 4"],
    size: tuple[int, int],
) -> Bool[np.ndarray, "k rows columns"]:
    """Returns which pixels of an image belong to objects, on the host.

    Each mask is stretched to its box, bilinearly; a pixel is the object's if what is at
    its middle is at least 0.5. Outside of a mask there is 0, as with the frame of zeros
    that torchvision puts around it before it is stretched. Deviation: torchvision
    rounds boxes to whole pixels before, which moves outlines by up to one.

    Args:
      masks: probabilities, as in `Detections`.
      boxes_xyxy: in pixels; what is outside of the image is cut off.
      size: rows and columns of the image.

    Source: He et al., 2017, https://arxiv.org/abs/1703.06870, section 3.1.
    """
    pasted = np.zeros((len(masks), *size), bool)
    for mask, box, target in zip(masks, boxes_xyxy, pasted, strict=True):
        x1, y1, x2, y2 = map(float, box)
        if x2 <= x1 or y2 <= y1:
            continue
        rows, down = _stretch(y1, y2, mask.shape[0], size[0])
        columns, right = _stretch(x1, x2, mask.shape[1], size[1])
        target[rows, columns] = down @ mask @ right.T >= 0.5
    return pasted


def _stretch(
    first: float, last: float, places: int, limit: int
) -> tuple[slice, Float[np.ndarray, "pixels places"]]:
    """Returns the pixels between two sides, and of which places they are mixed."""
    start, stop = (int(np.clip(x, 0, limit)) for x in (first, np.ceil(last)))
    middles = np.arange(start, stop) + 0.5
    at = (middles - first) / (last - first) * places - 0.5
    away = np.abs(at[:, None] - np.arange(places))
    return slice(start, stop), np.maximum(1 - away, 0).astype(np.float32)
