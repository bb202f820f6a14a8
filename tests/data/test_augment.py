"""Random changes keep shapes and kinds, and do what their names say."""

import numpy as np
import pytest

from cnnjax import data


def photo(height=24, width=30, channels=3):
    rows, columns = np.mgrid[:height, :width]
    planes = [rows * 10, columns * 8, rows + columns][:channels]
    return np.stack(planes, axis=-1).astype(np.uint8)


def many(change, image, count=40):
    return [change(image, np.random.default_rng(seed)) for seed in range(count)]


def test_resized_crop():
    image = photo()
    crops = many(data.RandomResizedCrop(8), image)
    assert {crop.shape for crop in crops} == {(8, 8, 3)}
    # The rows' and columns' own gradients show which part it is.
    heights = [int(np.ptp(crop[..., 0])) / 10 / 24 for crop in crops]
    widths = [int(np.ptp(crop[..., 1])) / 8 / 30 for crop in crops]
    areas = np.multiply(heights, widths)
    assert areas.min() < 0.2 and areas.max() > 0.6


def test_a_crop_that_does_not_fit_is_the_middle():
    line = np.tile(np.arange(200, dtype=np.uint8)[:, None, None], (1, 3, 1))
    (crop,) = many(data.RandomResizedCrop(4, area=(0.9, 1.0)), line, 1)
    assert crop.min() >= 97 and crop.max() <= 102


def test_crop_moves_by_up_to_the_frame():
    image = photo(8, 8) + np.uint8(1)
    crops = many(data.RandomCrop(2), image)
    assert {crop.shape for crop in crops} == {image.shape}
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    every = {padded[i : i + 8, j : j + 8].tobytes() for i in range(5) for j in range(5)}
    found = {crop.tobytes() for crop in crops}
    assert found <= every and len(found) > 10


def test_flip():
    image = photo()
    flipped = [
        np.array_equal(x, image[:, ::-1]) for x in many(data.RandomFlip(), image)
    ]
    same = [np.array_equal(x, image) for x in many(data.RandomFlip(), image)]
    assert 10 < sum(flipped) < 30 and sum(flipped) + sum(same) == 40


def test_erasing():
    image = np.full((20, 20, 3), 9, np.float32)
    changed = many(data.RandomErasing(probability=0.5), image)
    boxes = [(x != 9).any(axis=-1) for x in changed]
    assert 10 < sum(box.any() for box in boxes) < 30
    for box in filter(np.any, boxes):
        rows, columns = box.any(axis=1), box.any(axis=0)
        np.testing.assert_array_equal(box, rows[:, None] & columns[None])
        assert 0.01 < box.mean() < 0.4
    assert (image == 9).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_rand_augment(channels):
    image = photo(channels=channels)
    changed = many(data.RandAugment(), image)
    assert {(x.shape, str(x.dtype)) for x in changed} == {(image.shape, "uint8")}
    assert len({x.tobytes() for x in changed}) > 25
    weak, strong = (
        np.mean([abs(x.astype(int) - image).mean() for x in many(change, image)])
        for change in (data.RandAugment(2, 1.0), data.RandAugment(2, 10.0))
    )
    assert weak < strong


@pytest.mark.parametrize(
    "change", [data.RandAugment(), data.RandomCrop(), data.RandomResizedCrop(8)]
)
def test_the_same_generator_gives_the_same_image(change):
    once, again = (change(photo(), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
