"""Augmentation: exact where it can be, bounded where it is random."""

import numpy as np
import pytest

from cnnjax.data import transforms


def image(height=9, width=9, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (height, width, channels)).astype(np.float32)


def test_identity():
    x = image(8, 5)
    np.testing.assert_allclose(transforms.affine(x, np.eye(2), np.zeros(2)), x)


def test_shift_by_whole_pixels_brings_in_black():
    x = image()
    y = transforms.affine(x, np.eye(2), np.array([2.0, -1.0]))
    np.testing.assert_allclose(y[:-2, 1:], x[2:, :-1])
    np.testing.assert_array_equal(y[-2:], transforms.BLACK)
    np.testing.assert_array_equal(y[:, 0], transforms.BLACK)


@pytest.mark.parametrize("shift", [(99.0, 0.0), (0.0, -99.0), (9.0, 9.0), (-9.0, 0.0)])
def test_an_image_that_left_the_plane_is_black(shift):
    y = transforms.affine(image(), np.eye(2), np.array(shift))
    np.testing.assert_array_equal(y, transforms.BLACK)


def test_quarter_turn():
    x = image()
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    y = transforms.affine(x, turn, np.zeros(2))
    np.testing.assert_allclose(y, np.rot90(x, k=-1), atol=1e-5)


def test_interpolation_is_linear():
    ramp = np.broadcast_to(np.arange(9.0, dtype=np.float32)[:, None, None], (9, 9, 1))
    y = transforms.affine(ramp, np.eye(2), np.array([0.25, 0.0]))
    np.testing.assert_allclose(y[:-1], ramp[:-1] + 0.25, rtol=1e-6)
    partly_outside = 0.75 * ramp[-1] + 0.25 * transforms.BLACK
    np.testing.assert_allclose(y[-1], partly_outside)


def test_all_limits_zero_change_nothing():
    x = image()
    y = transforms.RandomAffine(0.0, 0.0, 0.0, 0.0)(x, np.random.default_rng(0))
    np.testing.assert_allclose(y, x, atol=1e-6)


@pytest.mark.parametrize("limit", ["rotation", "scale", "shear", "shift"])
def test_each_limit_changes_the_image(limit):
    off = dict.fromkeys(("rotation", "scale", "shear", "shift"), 0.0)
    x = image()
    augment = transforms.RandomAffine(
        **off | {limit: 9.0 if limit == "rotation" else 0.3}
    )
    y = augment(x, np.random.default_rng(0))
    assert y.dtype == x.dtype
    assert np.abs(y - x).max() > 0.01


def test_same_generator_same_image():
    augment, x = transforms.RandomAffine(), image()
    first, again, other = (augment(x, np.random.default_rng(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_resize():
    x = np.full((8, 6, 3), 77, np.uint8)
    y = transforms.resize(x, 16)
    assert y.shape == (16, 16, 3)
    np.testing.assert_array_equal(y, 77)
    assert transforms.resize(y, 16) is y


def test_resize_averages_when_it_shrinks():
    stripes = np.zeros((16, 16, 1), np.uint8)
    stripes[::2] = 200
    assert np.ptp(transforms.resize(stripes, 4).astype(int)) < 20


def test_normalise():
    x = np.array([[[0], [255]]], np.uint8)
    y = transforms.normalise(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[..., 0], [[-1.0, 1.0]])
