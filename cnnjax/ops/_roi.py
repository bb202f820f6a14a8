"""What regions of interest see: cut into bins, of which each is a mean of samples.

Regions are rows of [k, 5]: the image's index, then x1, y1, x2, y2 in the pixels of
another size, which `spatial_scale` takes to those of the maps. Where the channels are
position-sensitive, [c, oh, ow] on the last axis, each bin looks at its own c.
"""

import functools
from collections.abc import Sequence

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


# Numbers of all maps, times regions, up to which products beat gathering on CPUs. They
# need to be of one image: `jax.vmap` makes that of many.
FEW = 2**25


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
    levels = jnp.zeros(len(rois), jnp.int32)
    return pyramid_roi_align(
        [x], rois, levels, output_size, [spatial_scale], sampling_ratio, aligned
    )


def pyramid_roi_align(
    maps: Sequence[AnyArray],
    rois: AnyArray,
    levels: AnyArray,
    output_size: Ints,
    spatial_scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
) -> Float[Array, "k h2 w2 c"]:
    """Returns what `roi_align` does, of each region on one of several maps.

    The work is that of one map: samples are taken from a table of all pixels.

    Args:
      maps: [n, h, w, c], each of its own h and w.
      rois: [k, 5].
      levels: which of the maps a region is looked at on, integers [k].
      output_size, sampling_ratio, aligned: as in `roi_align`.
      spatial_scales: of each map.

    Returns:
      [k, oh, ow, c].

    Raises:
      ValueError: as in `roi_align`; or if there are not as many scales as maps.

    Source: Lin et al., 2016, https://arxiv.org/abs/1612.03144, section 4.2.
    """
    check(
        len(maps) == len(spatial_scales) > 0,
        f"{len(spatial_scales)} spatial scales do not fit {len(maps)} maps",
    )
    for x, scale in zip(maps, spatial_scales, strict=True):
        check_regions(x, rois, output_size, scale)
    check(
        levels.shape == (len(rois),) and jnp.issubdtype(levels.dtype, jnp.integer),
        f"levels must be integers [{len(rois)}], not {levels.dtype} {levels.shape}",
    )
    return _pyramid_roi_align(
        *maps,
        rois,
        levels,
        bins=pair(output_size, "output_size"),
        spatial_scales=tuple(map(float, spatial_scales)),
        sampling_ratio=integer(sampling_ratio, "sampling_ratio"),
        aligned=bool(aligned),
    )


@named
def _pyramid_roi_align(*arrays, bins, spatial_scales, sampling_ratio, aligned):
    *maps, rois, levels = arrays
    levels = jnp.clip(levels, 0, len(maps) - 1)
    scale = jnp.asarray(spatial_scales, accumulator(rois.dtype))[levels]
    y, x = _samples(rois, None, bins, scale[:, None], sampling_ratio, aligned)
    image = image_of(maps[0], rois)
    pixels = sum(m.shape[1] * m.shape[2] * m.shape[3] for m in maps)
    if len(maps[0]) > 1 or len(rois) * pixels > FEW:
        return _gathered(maps, image, levels, y, x)
    return lax.platform_dependent(
        maps, image, levels, y, x, cpu=_by_products, default=_gathered
    )


def _gathered(maps, image, levels, y, x):
    """Returns the means of samples, which are taken from a table of all pixels."""
    sides = jnp.asarray([m.shape[1:3] for m in maps])[levels].T
    sizes = [m.shape[0] * m.shape[1] * m.shape[2] for m in maps]
    starts = jnp.asarray([sum(sizes[:k]) for k in range(len(maps))])[levels]
    first = starts + image * sides[0] * sides[1]
    table = jnp.concatenate([m.reshape(-1, m.shape[3]) for m in maps])
    first, height, width = map(_of_regions, (first, *sides))
    return _mean_of_samples(table, first, height, width, y, x, 1, 0)


def _by_products(maps, image, levels, y, x):
    """Returns the same, of one image, as products with weights of rows and columns."""
    del image
    dtype = accumulator(maps[0].dtype)
    product = functools.partial(
        jnp.matmul, precision="highest", preferred_element_type=dtype
    )
    total = jnp.zeros((), dtype)
    for level, m in enumerate(maps):
        _, height, width, channels = m.shape
        mine = (levels == level)[:, None, None]
        rows = jnp.where(mine, _weights(y[:, :, 0, :, 0], height), 0)
        columns = _weights(x[:, 0, :, 0], width)
        count, high, wide = *rows.shape[:2], columns.shape[1]
        seen = product(
            rows.astype(m.dtype).reshape(-1, height), m.reshape(height, -1)
        ).reshape(-1, width, channels)
        # A product for each row of bins; XLA is slower with one for each region.
        columns = columns.astype(dtype)[:, None]
        columns = jnp.broadcast_to(columns, (count, high, wide, width))
        seen = product(columns.reshape(-1, wide, width), seen)
        total += seen.reshape(count, high, wide, channels)
    return total.astype(maps[0].dtype)


def _weights(place, size):
    """Returns how much of each pixel [0, size) the bins of samples [k, b, s] see."""
    pixels = jnp.arange(size)[None, None, None]
    weights = jnp.zeros((), place.dtype)
    for index, weight in _neighbours(place, size):
        weights += jnp.where(index[..., None] == pixels, weight[..., None], 0)
    return weights.mean(2)


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
    static = check_regions(x, rois, output_size, spatial_scale, True)
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
        **check_regions(x, rois, offset.shape[1:3], spatial_scale, position_sensitive),
        sampling_ratio=integer(sampling_ratio, "sampling_ratio"),
        position_sensitive=bool(position_sensitive),
        gamma=float(gamma),
    )


def check_regions(x, rois, output_size, spatial_scale, position_sensitive=False):
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


def image_of(x, rois):
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
    position_sensitive,
    gamma=0.0,
):
    moved = None if offset is None else gamma * offset
    y, x_ = _samples(rois, moved, bins, spatial_scale, sampling_ratio, True)
    _, height, width, channels = x.shape
    first = _of_regions(image_of(x, rois) * (height * width))
    # A row of the table is what one bin can see of a pixel.
    each = bins[0] * bins[1] if position_sensitive else 1
    table = x.reshape(-1, channels // each, each).swapaxes(1, 2)
    table = table.reshape(-1, channels // each)
    own = jnp.arange(each).reshape(1, *bins, 1, 1) if position_sensitive else 0
    return _mean_of_samples(table, first, height, width, y, x_, each, own)


_ps_roi_align = named(_sample, "ps_roi_align")
_deform_roi_pool = named(_sample, "deform_roi_pool")


def _of_regions(x):
    """Returns one number per region so that it broadcasts with samples."""
    return x[:, None, None, None, None]


def _samples(rois, offset, bins, spatial_scale, count, aligned):
    """Returns rows and columns of the samples, which broadcast to [k, oh, ow, s, s].

    Args:
      rois: [k, 5].
      offset: of each bin, in parts of its region's size [k, oh, ow, 2]; or None.
      bins, count: how many, in a column and in a row.
      spatial_scale: a number, or one of each region [k, 1].
      aligned: as in `roi_align`.
    """
    corners = jnp.asarray(rois)[:, 1:].astype(accumulator(rois.dtype)) * spatial_scale
    corners -= 0.5 if aligned else 0
    start, end = corners[:, 1::-1], corners[:, :1:-1]
    size = end - start if aligned else jnp.maximum(end - start, 1)

    def along(axis):
        number = jnp.arange(bins[axis] * count, dtype=size.dtype)
        # Rounded like the reference's: the bin's start, then the sample's place in it.
        side = (size[:, axis] / bins[axis])[:, None]
        inside = (number % count + 0.5)[None] * side / count
        places = start[:, axis][:, None] + (number // count)[None] * side
        return (places + inside).reshape(-1, bins[axis], count)

    y, x = along(0)[:, :, None, :, None], along(1)[:, None, :, None, :]
    if offset is None:
        return y, x
    moved = (offset.astype(y.dtype) * size[:, None, None])[:, :, :, None, None]
    return y + moved[..., 0], x + moved[..., 1]


def _mean_of_samples(table, first, height, width, y, x, each, own):
    """Returns the means [k, oh, ow, c] of maps at points [k, oh, ow, s, s].

    Up to a pixel outside the maps counts as their border, what is farther as 0.

    Args:
      table: all pixels' channels [pixels * each, c].
      first: the pixel with which a region's map begins.
      height, width: of its map.
      y, x: rows and columns, which broadcast.
      each: rows of the table that a pixel has.
      own: which of them a bin looks at.
    """
    dtype = accumulator(table.dtype)
    total = jnp.zeros((), dtype)
    for row, row_weight in _neighbours(y, height):
        for column, column_weight in _neighbours(x, width):
            index = (first + row * width + column) * each + own
            seen = table.at[index].get(mode="promise_in_bounds").astype(dtype)
            total += seen * (row_weight * column_weight).astype(dtype)[..., None]
    return total.mean((3, 4)).astype(table.dtype)


def _neighbours(place, size):
    """Yields the index and the weight of the pixels before and after places."""
    outside = ~((place >= -1) & (place <= size))  # Also where it is NaN.
    place = jnp.clip(jnp.where(outside, 0, place), 0, size - 1)
    low = jnp.floor(place)
    weight = place - low
    low = low.astype(jnp.int32)
    yield low, jnp.where(outside, 0, 1 - weight)
    yield jnp.minimum(low + 1, size - 1), jnp.where(outside, 0, weight)
