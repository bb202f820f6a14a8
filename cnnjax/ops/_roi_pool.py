"""What regions of interest see of whole pixels: each bin's maximum or mean."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cnnjax.ops._check import Ints
from cnnjax.ops._named import named
from cnnjax.ops._roi import check_regions, image_of
from cnnjax.ops._spec import AnyArray, accumulator


def roi_pool(
    x: AnyArray, rois: AnyArray, output_size: Ints, spatial_scale: float
) -> Float[Array, "k h2 w2 c"]:
    """Returns the maximum of each bin of each region, whose sides are rounded.

    A bin without pixels is 0. Where several pixels are the maximum, they share the
    gradient. Where bins begin is computed in integers; elsewhere in floats, which now
    and then takes a pixel more.

    Args:
      x: maps [n, h, w, c].
      rois, output_size, spatial_scale: as in `roi_align`.

    Returns:
      [k, oh, ow, c].

    Source: Girshick, 2015, https://arxiv.org/abs/1504.08083.
    """
    return _roi_pool(x, rois, **check_regions(x, rois, output_size, spatial_scale))


@named
def _roi_pool(x, rois, *, bins, spatial_scale):
    # The last pixel belongs to the region.
    rows, columns = _masks(x, rois, bins, spatial_scale, last=1, sides=x.shape[1:3])

    def pool(region):
        image, rows, columns = region
        pixels = x[image]
        # By rows first: [oh, w, c].
        y = jnp.max(pixels[None], 1, where=rows[:, :, None, None], initial=-jnp.inf)
        y = jnp.max(y[:, None], 2, where=columns[None, :, :, None], initial=-jnp.inf)
        empty = ~(rows.any(1)[:, None] & columns.any(1)[None])
        return jnp.where(empty[..., None], 0, y)

    return lax.map(pool, (image_of(x, rois), rows, columns))


def ps_roi_pool(
    x: AnyArray, rois: AnyArray, output_size: Ints, spatial_scale: float
) -> Float[Array, "k h2 w2 c2"]:
    """Returns the mean of each bin of each region, each of its own channels.

    Args:
      x: maps [n, h, w, c * oh * ow].
      rois, output_size, spatial_scale: as in `roi_align`; sides are rounded, and a bin
        without pixels is 0.

    Returns:
      [k, oh, ow, c].

    Source: Dai et al., 2016, https://arxiv.org/abs/1605.06409.
    """
    return _ps_roi_pool(
        x, rois, **check_regions(x, rois, output_size, spatial_scale, True)
    )


@named
def _ps_roi_pool(x, rois, *, bins, spatial_scale):
    # The reference never looks at the maps' last row and column.
    sides = x.shape[1] - 1, x.shape[2] - 1
    rows, columns = _masks(x, rois, bins, spatial_scale, last=0, sides=sides)
    table = x.reshape(*x.shape[:3], -1, *bins)

    def pool(region):
        image, rows, columns = region
        total = jnp.einsum(
            "ph,qw,hwcpq->pqc",
            rows.astype(x.dtype),
            columns.astype(x.dtype),
            table[image],
            precision="highest",
            preferred_element_type=accumulator(x.dtype),
        )
        count = rows.sum(1)[:, None] * columns.sum(1)[None]
        return (total / jnp.maximum(count, 1)[..., None]).astype(x.dtype)

    return lax.map(pool, (image_of(x, rois), rows, columns))


def _masks(x, rois, bins, scale, last, sides):
    """Returns which rows [k, oh, h] and columns [k, ow, w] are those of which bins.

    Args:
      last: how many pixels the last of a region adds to its size.
      sides: how many rows and columns there are to look at.
    """
    corners = jnp.asarray(rois)[:, 1:] * scale
    # Halves are rounded away from 0. From here on integers: nothing is rounded again.
    corners = jnp.sign(corners) * jnp.floor(jnp.abs(corners) + 0.5)
    corners = corners.astype(jnp.int32)
    start, end = corners[:, 1::-1], corners[:, :1:-1]
    size = jnp.maximum(end - start + last, 1)

    def along(axis):
        number = jnp.arange(bins[axis])[None]
        extent, first = size[:, axis][:, None], start[:, axis][:, None]
        low = first + number * extent // bins[axis]
        high = first - -(number + 1) * extent // bins[axis]
        place = jnp.arange(x.shape[1 + axis])[None, None]
        inside = (place >= low[..., None]) & (place < high[..., None])
        return inside & (place < sides[axis])

    return along(0), along(1)
