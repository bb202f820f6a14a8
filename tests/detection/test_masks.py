"""Masks are stretched to their boxes."""

import numpy as np
import pytest

from cnnjax.detection import paste_masks


def pasted(mask, box, size):
    masks, boxes = np.float32([mask]), np.float32([box])
    (result,) = paste_masks(masks, boxes, size)
    return result


def test_a_full_mask_fills_its_box():
    rows, columns = np.mgrid[:9, :12] + 0.5
    for x1, y1, x2, y2 in ((2, 3, 7, 8), (2.4, 3.4, 6.6, 7.6), (0, 0, 12, 9)):
        inside = (x1 < columns) & (columns < x2) & (y1 < rows) & (rows < y2)
        found = pasted(np.ones((28, 28)), (x1, y1, x2, y2), (9, 12))
        np.testing.assert_array_equal(found, inside)


def test_stretches_like_the_formula():
    rng = np.random.default_rng(0)
    mask, (x1, y1, x2, y2) = rng.random((5, 7)), (-3.3, 2.2, 16.9, 29.4)
    framed = np.pad(mask, 1)
    expected = np.zeros((25, 20), bool)
    for row, column in np.argwhere(~expected):
        y = (row + 0.5 - y1) / (y2 - y1) * 5 - 0.5
        x = (column + 0.5 - x1) / (x2 - x1) * 7 - 0.5
        if -1 <= y < 5 and -1 <= x < 7:
            top, left = int(np.floor(y)), int(np.floor(x))
            cell = framed[top + 1 : top + 3, left + 1 : left + 3]
            part = np.outer((top + 1 - y, y - top), (left + 1 - x, x - left))
            expected[row, column] = (cell * part).sum() >= 0.5
    assert 50 < expected.sum() < 450
    found = pasted(mask, (x1, y1, x2, y2), (25, 20))
    np.testing.assert_array_equal(found, expected)


def test_a_half_is_the_object():
    mask = np.full((3, 3), 0.5)
    assert pasted(mask, (0, 0, 9, 9), (9, 9))[2:7, 2:7].all()
    assert not pasted(mask - 0.01, (0, 0, 9, 9), (9, 9)).any()


@pytest.mark.parametrize("box", [(5, 5, 5, 8), (0, 0, 0, 0), (20, 20, 30, 30)])
def test_a_box_without_pixels_has_no_object(box):
    assert not pasted(np.ones((4, 4)), box, (10, 10)).any()


def test_no_masks_at_all():
    masks, boxes = np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32)
    assert paste_masks(masks, boxes, (6, 8)).shape == (0, 6, 8)
