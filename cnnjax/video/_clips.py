"""Clips, images in a row: of the right length, in windows, out of order."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from cnnjax.ops._check import check


def check_clip(clip: Float[Array, "..."], frames: int) -> None:
    """Raises a ValueError unless the clip is [n, frames, h, w, c]."""
    check(
        clip.ndim == 5 and clip.shape[1] == frames,
        f"clips must be [n, t, h, w, c] with t = {frames} frames, not of shape "
        f"{clip.shape}",
    )


def windows(
    x: Float[Array, "n t ..."], extent: int, stride: int
) -> Float[Array, "n t2 ..."]:
    """Returns windows of frames, whose channels lie one after another.

    Window i has the frames `i stride` to `i stride + extent - 1`, the channels of the
    first frame first.

    Args:
      x: frames [n, t, ..., c].
      extent: frames in a window.
      stride: from one to the next.

    Returns:
      [n, (t - extent) // stride + 1, ..., extent c].
    """
    last = (x.shape[1] - extent) // stride * stride
    parts = [x[:, k : k + last + 1 : stride] for k in range(extent)]
    return jnp.concatenate(parts, axis=-1)


def fold(x: Shaped[Array, "n t ..."]) -> Shaped[Array, "images ..."]:
    """Returns the frames of all clips as images."""
    return x.reshape(-1, *x.shape[2:])


def unfold(x: Shaped[Array, "images ..."], n: int) -> Shaped[Array, "n t ..."]:
    """Returns images as the frames of n clips."""
    return x.reshape(n, -1, *x.shape[1:])


def shuffle_frames(
    clip: Shaped[Array, "n t h w c"], key: Key[Array, ""]
) -> Shaped[Array, "n t h w c"]:
    """Puts the frames of each clip in an order of its own.

    A control: what classifies shuffled clips as well does not use the order of time.

    Args:
      clip: [n, t, h, w, c].
      key: decides on the orders; all of them are as likely.
    """
    return jax.vmap(jax.random.permutation)(jax.random.split(key, len(clip)), clip)
