"""Moving and exchanging channels: no products, no parameters."""

import operator
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from cnnjax.ops._check import check, check_images, integer
from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray


def shift2d(
    x: AnyArray,
    displacements: Sequence[Sequence[int]] | np.ndarray,
    mode: str = "zero",
) -> Shaped[Array, "n h w c"]:
    """Moves each channel by a displacement of its own.

    `y[i, j, c] = x[i + dy[c], j + dx[c], c]`

    >>> x = jnp.array([[1, 2, 3]])[None, ..., None]
    >>> shift2d(x, [(0, 1)])[0, ..., 0].tolist()
    [[2, 3, 0]]
    >>> shift2d(x, [(0, 1)], mode="circular")[0, ..., 0].tolist()
    [[2, 3, 1]]

    Args:
      x: images [n, h, w, c].
      displacements: (dy, dx) of each channel, in pixels, as static integers.
      mode: what enters at the border: zeros, or what left on the other side.

    Returns:
      [n, h, w, c].

    Raises:
      ValueError: if there is not one displacement, of two integers, per channel, no
        channel at all, or another mode.

    Source: Wu et al., 2017, https://arxiv.org/abs/1711.08141.
    """
    check_images(x)
    try:
        table = tuple(tuple(map(operator.index, row)) for row in displacements)
    except TypeError:
        table = ()
    check(
        0 < len(table) == x.shape[3] and all(len(row) == 2 for row in table),
        "displacements must be one (dy, dx) for each of the channels of "
        f"{x.shape}, in integers, not {displacements!r}",
    )
    check(mode in ("zero", "circular"), f"mode {mode!r}: not zero or circular")
    return _shift2d(x, displacements=table, mode=mode)


@named
def _shift2d(x, *, displacements, mode):
    table = np.array(displacements).reshape(-1, 2)
    order = np.lexsort((table[:, 1], table[:, 0]))  # Stable: equal ones side by side.
    rows, columns = np.arange(x.shape[1]), np.arange(x.shape[2])
    starts = np.flatnonzero(np.diff(table[order], axis=0, prepend=np.nan).any(axis=1))
    moved = []
    for channels in np.split(order, starts[1:]):
        dy, dx = table[channels[0]].tolist()
        part = jnp.roll(_channels(x, channels), (-dy, -dx), axis=(1, 2))
        if mode == "zero":
            kept = ((rows + dy >= 0) & (rows + dy < len(rows)))[:, None] & (
                (columns + dx >= 0) & (columns + dx < len(columns))
            )[None]
            part = jnp.where(kept[None, :, :, None], part, jnp.zeros((), x.dtype))
        moved.append(part)
    return _channels(jnp.concatenate(moved, axis=3), np.argsort(order))


def _channels(x, which):
    """Returns some channels of x: a slice where they stand side by side."""
    if (np.diff(which) == 1).all():
        return x[..., which[0] : which[-1] + 1]
    return x[..., which]


def grid_displacements(channels: int, kernel_size: int) -> tuple[tuple[int, int], ...]:
    """Returns ShiftNet's displacements: the cells of a grid, evenly over the channels.

    Each of the K x K cells gets `channels // K^2` channels in a row; the channels that
    are left over stay where they are.

    >>> grid_displacements(4, 1)
    ((0, 0), (0, 0), (0, 0), (0, 0))
    >>> grid_displacements(10, 3)[:4]
    ((-1, -1), (-1, 0), (-1, 1), (0, -1))

    Args:
      channels: how many there are.
      kernel_size: K, odd, in pixels.

    Returns:
      (dy, dx) of each channel, for `shift2d`.

    Raises:
      ValueError: if K is even, and so has no centre, or not positive; or channels is
        negative.

    Source: Wu et al., 2017, https://arxiv.org/abs/1711.08141, section 3.1.
    """
    channels = integer(channels, "channels", 0)
    check(
        integer(kernel_size, "kernel_size") % 2 == 1,
        f"kernel_size must be odd and positive, not {kernel_size}",
    )
    reach = range(-(kernel_size // 2), kernel_size // 2 + 1)
    each = channels // kernel_size**2
    grid = tuple((dy, dx) for dy in reach for dx in reach for _ in range(each))
    return grid + ((0, 0),) * (channels - len(grid))


def channel_shuffle(x: AnyArray, groups: int) -> Shaped[Array, "n h w c"]:
    """Deals the channels of each group out to all groups.

    Channel `g C/G + i` becomes channel `i G + g`; shuffling by G and then by C/G is the
    identity.

    >>> channel_shuffle(jnp.arange(6)[None, None, None], 2)[0, 0, 0].tolist()
    [0, 3, 1, 4, 2, 5]

    Args:
      x: images [n, h, w, c].
      groups: G, a divisor of c.

    Returns:
      [n, h, w, c].

    Raises:
      ValueError: if the groups do not divide the channels.

    Source: Zhang et al., 2017, https://arxiv.org/abs/1707.01083.
    """
    check_images(x)
    groups = integer(groups, "groups")
    check(
        x.shape[3] % groups == 0,
        f"{groups} groups do not divide the channels of {x.shape}",
    )
    return _channel_shuffle(x, groups=groups)


@named
def _channel_shuffle(x, *, groups):
    parts = x.reshape(*x.shape[:3], groups, x.shape[3] // groups)
    return parts.swapaxes(3, 4).reshape(x.shape)
