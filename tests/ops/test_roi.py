"""Regions of interest, against the reference, and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import load_op

from cnnjax import ops


def run(name, x, rois, options):
    """Returns what an operation computes with a golden file's options."""
    function = getattr(ops, name.removesuffix("_aligned").removesuffix("_legacy"))
    more = {
        key: options[key] for key in ("sampling_ratio", "aligned") if key in options
    }
    return function(x, rois, options["output_size"], options["spatial_scale"], **more)


@pytest.mark.parametrize(
    "name",
    [
        "roi_align_aligned",
        "roi_align_legacy",
        "roi_pool",
        "ps_roi_align",
        "ps_roi_pool",
    ],
)
def test_equals_the_reference(name):
    golden, options = load_op(name)
    x = np.moveaxis(golden["x"], 1, -1)
    y = jax.jit(lambda x, rois: run(name, x, rois, options))(x, golden["rois"])
    expected = np.moveaxis(golden["y"], 1, -1)
    np.testing.assert_allclose(y, expected, atol=1e-5, rtol=0)


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(2, 7, 9, 8)), jnp.float32)


ROIS = jnp.asarray([[0.0, 2, 1, 13, 11], [1, -5, -4, 3, 2], [1, 30, 30, 60, 50]])


def test_what_lies_outside_is_nothing(maps):
    for y in (
        ops.roi_align(maps, ROIS, 2, 0.5, 2, True),
        ops.roi_pool(maps, ROIS, 2, 0.5),
        ops.ps_roi_align(maps, ROIS, 2, 0.5, 2),
        ops.ps_roi_pool(maps, ROIS, 2, 0.5),
    ):
        assert np.all(y[2] == 0) and np.any(y[0] != 0)


def test_padding_is_finite(maps):
    rois = jnp.asarray([[-1.0, 0, 0, 8, 8], [0, jnp.nan, 0, 8, 8], [9, 0, 0, 0, 0]])
    assert np.isfinite(ops.roi_align(maps, rois, 2, 0.5, 2, True)).all()


def test_deformed_bins_are_moved_ones(maps):
    """A bin that is moved by half of the region sees what another region would."""
    zero = jnp.zeros((3, 2, 2, 2))
    still = ops.deform_roi_pool(maps, ROIS, zero, 0.5, 2)
    expected = ops.roi_align(maps, ROIS, (2, 2), 0.5, 2, True)
    np.testing.assert_allclose(still, expected, atol=1e-6)
    own = ops.deform_roi_pool(maps, ROIS, zero, 0.5, 2, position_sensitive=True)
    np.testing.assert_allclose(
        own, ops.ps_roi_align(maps, ROIS, (2, 2), 0.5, 2), atol=1e-6
    )
    moved = ops.deform_roi_pool(maps, ROIS, zero.at[..., 1].set(5), 0.5, 2, gamma=0.1)
    width = ROIS[:, 3] - ROIS[:, 1]
    shift = jnp.stack([0 * width, width / 2, 0 * width, width / 2, 0 * width], 1)
    expected = ops.roi_align(maps, ROIS + shift, 2, 0.5, 2, True)
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_gradients_reach_maps_regions_and_offsets(maps):
    offset = jnp.full((3, 2, 2, 2), 0.3)

    def total(x, rois, offset):
        return jnp.square(ops.deform_roi_pool(x, rois, offset, 0.5, 2)).sum()

    gradients = jax.grad(total, (0, 1, 2))(maps, ROIS, offset)
    assert all(np.any(g != 0) and np.isfinite(g).all() for g in gradients)
    pooled = jax.grad(lambda x: ops.roi_pool(x, ROIS, 2, 0.5).sum())(maps)
    assert np.isfinite(pooled).all()
    # Each bin of the two regions that are inside takes one pixel, of each channel.
    assert pooled.sum() == pytest.approx(
        np.count_nonzero(ops.roi_pool(maps, ROIS, 2, 0.5)), abs=1e-3
    )


def test_half_precision_stays(maps):
    half = maps.astype(jnp.bfloat16)
    for y in (
        ops.roi_align(half, ROIS, 2, 0.5, 2, True),
        ops.roi_pool(half, ROIS, 2, 0.5),
        ops.ps_roi_pool(half, ROIS, 2, 0.5),
    ):
        assert y.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda x: ops.roi_align(x, ROIS[:, 1:], 2, 1.0, 2, True),
            r"rois must be \[n, 5",
        ),
        (lambda x: ops.roi_align(x, ROIS, 2, 1.0, 0, True), "sampling_ratio must be"),
        (lambda x: ops.roi_align(x, ROIS, 0, 1.0, 2, True), "output_size must be"),
        (lambda x: ops.ps_roi_pool(x, ROIS, 3, 1.0), "8 channels .* by 3 x 3 bins"),
        (
            lambda x: ops.deform_roi_pool(x, ROIS, jnp.zeros((2, 2, 2, 2)), 1.0, 2),
            r"offset must be \[3, oh, ow, 2\]",
        ),
    ],
)
def test_bad_arguments(maps, call, message):
    with pytest.raises(ValueError, match=message):
        call(maps)


def test_images_of_their_own_are_pooled_alike():
    """By products of matrices on CPUs, with the same gradients."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 9, 11, 4)), jnp.float32)
    boxes = jnp.asarray(
        [[[1.0, 2, 9, 7], [-4, -3, 6, 30]], [[0, 0, 5, 5], [3, 3, 3, 3]]]
    )
    levels = jnp.asarray([0, 1])

    def pool(x, rois, levels):
        finer = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
        scales = [1.0, 0.5]
        return ops.pyramid_roi_align([finer, x], rois, levels, 3, scales, 2, True)

    def together(x, boxes):
        index = jnp.repeat(jnp.arange(2.0), 2)[:, None]
        rois = jnp.concatenate([index, boxes.reshape(4, 4)], axis=1)
        return pool(x, rois, jnp.tile(levels, 2))

    def apart(x, boxes):
        rois = jnp.pad(boxes, ((0, 0), (0, 0), (1, 0)))
        pooled = jax.vmap(lambda x, rois: pool(x[None], rois, levels))(x, rois)
        return pooled.reshape(4, 3, 3, -1)

    np.testing.assert_allclose(apart(x, boxes), together(x, boxes), atol=1e-5)
    one, other = (
        jax.grad(lambda x, boxes, f=f: jnp.sum(f(x, boxes) ** 2), (0, 1))(x, boxes)
        for f in (apart, together)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_each_map_has_a_scale(maps):
    rois = jnp.zeros((1, 5))
    with pytest.raises(ValueError, match="2 spatial scales do not fit 1 maps"):
        ops.pyramid_roi_align([maps], rois, jnp.asarray([0]), 2, [1.0, 0.5], 2, True)
    with pytest.raises(ValueError, match="levels must be integers"):
        ops.pyramid_roi_align([maps], rois, jnp.zeros(1), 2, [1.0], 2, True)
