"""What regions of interest see: cut into bins, of which each has a mean or a maximum.

Regions are rows of [k, 5]: the image's index, then x1, y1, x2, y2 in the pixels of
another size, which `spatial_scale` takes to those of the maps. Where the channels are
position-sensitive, [c, oh, ow] on the last axis, each bin looks at its own c.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cnnjax.ops._check import (
    Ints,
    check,
    check_floating,
    check_pixels,
    check_rows,
    integer,
    pair,
)
from cnnjax.ops._named import named
from cnnjax.ops._spec import AnyArray, accumulator


def roi_align(
    x: AnyArray,
    rois: AnyArray,
    output_size: Ints,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Float[Array, "k h2 w2 c"]:
    """Returns the means of bilinear samples in each bin of each region.

    Args:
      x: maps [n, h, w, c].
      rois: [k, 5].
      output_size: bins in a column and in a row.
      spatial_scale: pixels of the maps per pixel of the rois.
      sampling_ratio: a bin has as many samples in each direction. A number that depends
        on the region, which others have by default, has no static shape.
      aligned: whether the middle of the first pixel is at 0.5, and regions may have any
        size; else, as in the paper, it is at 0 and they have at least one pixel.

    Returns:
      [k, oh, ow, c].

    Raises:
      ValueError: for other shapes, and for numbers that are not positive.

    Source: He et al., 2017, https://arxiv.org/abs/1703.06870.
    """
    return _roi_align(
        x,
        rois,
        None,
        **_check(x, rois, output_size, spatial_scale),
        sampling_ratio=integer(sampling_ratio, "sampling_ratio"),
        aligned=bool(aligned),
    )


def ps_roi_align(
    x: AnyArray,
    rois: AnyArray,
    output_size: Ints,
    spatial_scale: float,
    sampling_ratio: int,
) -> Float[Array, "k h2 w2 c2"]:
    """Returns what `roi_align` does, aligned, each bin of its own channels.

    Args:
      x: maps [n, h, w, c * oh * ow].
      rois, output_size, spatial_scale, sampling_ratio: as in `roi_align`.

    Returns:
      [k, oh, ow, c].
    """
    static = _check(x, rois, output_size, spatial_scale, True)
    samples = integer(sampling_ratio, "sampling_ratio")
    return _ps_roi_align(
        x, rois, None, **static, sampling_ratio=samples, position_sensitive=True
    )


def deform_roi_pool(
    x: AnyArray,
    rois: AnyArray,
    offset: AnyArray,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float = 0.1,
    position_sensitive: bool = False,
) -> Float[Array, "k h2 w2 c2"]:
    """Returns what `roi_align` does, aligned, of bins that are moved.

    Args:
      x: maps [n, h, w, c], or [n, h, w, c * oh * ow] if position-sensitive.
      rois: [k, 5].
      offset: [k, oh, ow, 2], (dy, dx) of each bin, in parts of its region's size.
      spatial_scale, sampling_ratio: as in `roi_align`.
      gamma: what offsets are multiplied with.
      position_sensitive: whether each bin looks at its own channels.

    Returns:
      [k, oh, ow, c].

    Source: Dai et al., 2017, https://arxiv.org/abs/1703.06211, section 2.2.
    """
    check(
        offset.ndim == 4 and offset.shape[::3] == (len(rois), 2),
        f"the offset must be [{len(rois)}, oh, ow, 2], not {offset.shape}",
    )
    return _deform_roi_pool(
        x,
        rois,
        offset,
        **_check(x, rois, offset.shape[1:3], spatial_scale, position_sensitive),
        sampling_ratio=integer(sampling_ratio, "sampling_ratio"),
        position_sensitive=bool(position_sensitive),
        gamma=float(gamma),
    )


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
    return _roi_pool(x, rois, **_check(x, rois, output_size, spatial_scale))


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

    return lax.map(pool, (_image(x, rois), rows, columns))


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
    return _ps_roi_pool(x, rois, **_check(x, rois, output_size, spatial_scale, True))


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

    return lax.map(pool, (_image(x, rois), rows, columns))


def _check(x, rois, output_size, spatial_scale, position_sensitive=False):
    """Returns the static parameters that all have: bins, and the scale."""
    check_pixels(x)
    check_floating(x)
    check_rows(rois, 5, "rois")
    bins = pair(output_size, "output_size")
    if position_sensitive:
        check(
            x.shape[3] % (bins[0] * bins[1]) == 0,
            f"{x.shape[3]} channels are not divisible by {bins[0]} x {bins[1]} bins",
        )
    return {"bins": bins, "spatial_scale": float(spatial_scale)}


def _image(x, rois):
    """Returns the index of each region's image; of padding, any."""
    return jnp.clip(jnp.asarray(rois)[:, 0].astype(jnp.int32), 0, len(x) - 1)


def _sample(
    x,
    rois,
    offset,
    *,
    bins,
    spatial_scale,
    sampling_ratio,
    aligned=True,
    position_sensitive=False,
    gamma=0.0,
):
    corners = jnp.asarray(rois)[:, 1:].astype(accumulator(rois.dtype)) * spatial_scale
    corners -= 0.5 if aligned else 0
    start, end = corners[:, 1::-1], corners[:, :1:-1]
    size = end - start if aligned else jnp.maximum(end - start, 1)
    y, x_ = _points(start, size, bins, sampling_ratio)
    if offset is not None:
        moved = gamma * offset.astype(y.dtype) * size[:, None, None]
        moved = moved[:, :, :, None, None]
        y, x_ = y + moved[..., 0], x_ + moved[..., 1]
    own = bins if position_sensitive else None
    return _mean_of_samples(x, _image(x, rois), y, x_, own)


_roi_align = named(_sample, "roi_align")
_ps_roi_align = named(_sample, "ps_roi_align")
_deform_roi_pool = named(_sample, "deform_roi_pool")


def _points(start, size, bins, samples):
    """Returns rows [k, oh, 1, s, 1] and columns [k, 1, ow, 1, s] of the samples.

    Args:
      start: first row and column of each region [k, 2].
      size: rows and columns of each [k, 2].
      bins, samples: how many, in a column and in a row.
    """

    def along(axis):
        number = jnp.arange(bins[axis] * samples, dtype=size.dtype)
        # Rounded like the reference's: the bin's start, then the sample's place in it.
        side = (size[:, axis] / bins[axis])[:, None]
        inside = (number % samples + 0.5)[None] * side / samples
        places = start[:, axis][:, None] + (number // samples)[None] * side
        return (places + inside).reshape(-1, bins[axis], samples)

    return along(0)[:, :, None, :, None], along(1)[:, None, :, None, :]


def _mean_of_samples(x, image, y, x_, bins):
    """Returns the means [k, oh, ow, c] of maps at points [k, oh, ow, s, s].

    Up to a pixel outside the maps counts as their border, what is farther as 0.

    Args:
      x: maps [n, h, w, c].
      image: which of them [k].
      y, x_: rows and columns, which broadcast.
      bins: of position-sensitive channels, or None.
    """
    _, height, width, channels = x.shape
    first = (image * (height * width))[:, None, None, None, None]
    # A row of the table is what one bin can see of a pixel.
    each = 1 if bins is None else bins[0] * bins[1]
    table = x.reshape(-1, channels // each, each).swapaxes(1, 2)
    table = table.reshape(-1, channels // each)
    own = 0 if bins is None else jnp.arange(each).reshape(1, *bins, 1, 1)
    dtype = accumulator(x.dtype)
    total = jnp.zeros((), dtype)
    for row, row_weight in _neighbours(y, height):
        for column, column_weight in _neighbours(x_, width):
            index = (first + row * width + column) * each + own
            seen = table.at[index].get(mode="promise_in_bounds").astype(dtype)
            total += seen * (row_weight * column_weight).astype(dtype)[..., None]
    return total.mean((3, 4)).astype(x.dtype)


def _neighbours(place, size):
    """Yields the index and the weight of the pixels before and after places."""
    outside = ~((place >= -1) & (place <= size))  # Also where it is NaN.
    place = jnp.clip(jnp.where(outside, 0, place), 0, size - 1)
    low = jnp.floor(place)
    weight = place - low
    low = low.astype(jnp.int32)
    yield low, jnp.where(outside, 0, 1 - weight)
    yield jnp.minimum(low + 1, size - 1), jnp.where(outside, 0, weight)


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
