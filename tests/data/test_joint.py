"""Label maps follow their images, and all frames of a clip change alike."""

import numpy as np
import pytest
from scipy import ndimage

from cnnjax import data
from cnnjax.data import transforms


GEOMETRIC = [
    data.RandomFlip(),
    data.RandomCrop(5),
    data.RandomResizedCrop(40),
    data.RandomResizedCrop(20, area=(0.2, 0.5)),
]


def example(height=48, width=56):
    """Returns an image of bytes whose values tell the label map, and that."""
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - 18) ** 2 + (columns - 35) ** 2 < 150
    box = (rows > 25) & (columns < 20)
    label = (disc + 2 * box).astype(np.uint8)
    image = np.stack([label * 100, 255 - label * 100, rows * 2], axis=-1)
    return image.astype(np.uint8), label


def assert_moved_alike(image, label):
    """Away from borders, all pixels have the value of their label."""
    around = {"size": 5, "mode": "constant", "cval": data.IGNORE_LABEL}
    inner = ndimage.maximum_filter(label, **around) == label
    inner &= ndimage.minimum_filter(label, **around) == label
    inner &= label != data.IGNORE_LABEL
    assert inner.mean() > 0.1
    np.testing.assert_allclose(image[..., 0][inner], label[inner] * 100, atol=0.01)


@pytest.mark.parametrize("change", GEOMETRIC, ids=repr)
def test_label_maps_follow(change):
    seen = set()
    for seed in range(20):
        image, label = change.joint(*example(), np.random.default_rng(seed))
        assert label.dtype == np.uint8 and label.shape == image.shape[:2]
        assert {*np.unique(label)} <= {0, 1, 2, data.IGNORE_LABEL}
        assert_moved_alike(image, label)
        seen.add(label.tobytes())
        same = change(example()[0], np.random.default_rng(seed))
        np.testing.assert_array_equal(image, same)
    assert len(seen) > 1


def test_label_maps_follow_an_affine_change():
    for seed in range(20):
        image, label = example()
        change = data.RandomAffine(40.0, 0.4, 0.3, 0.2)
        floats = transforms.normalise(image)
        moved, label = change.joint(floats, label, np.random.default_rng(seed))
        assert_moved_alike((moved + 1) * 127.5, label)
        same = change(floats, np.random.default_rng(seed))
        np.testing.assert_array_equal(moved, same)
        # What lies outside is black, and only that: one channel is never both.
        outside = label == data.IGNORE_LABEL
        black = (moved[..., :2] == transforms.BLACK).all(axis=-1)
        assert 0.02 < outside.mean() < 0.8
        assert (outside[black]).all() and (outside & ~black).mean() < 0.05


def test_what_enters_is_ignored():
    image, label = example()
    crop = data.RandomCrop(5)
    for seed in range(5):
        moved, labels = crop.joint(
            image + np.uint8(1), label, np.random.default_rng(seed)
        )
        np.testing.assert_array_equal(
            labels == data.IGNORE_LABEL, (moved == 0).all(axis=-1)
        )


@pytest.mark.parametrize("labels", [False, True])
def test_nearest_neighbours_of_whole_pixels_are_exact(labels):
    image = np.random.default_rng(0).integers(0, 9, (9, 7, 1)).astype(np.uint8)
    image = image if labels else image.astype(np.float32)
    moved = transforms.affine(image, np.eye(2), np.array([2.0, -1.0]), labels)
    np.testing.assert_array_equal(moved[:-2, 1:], image[2:, :-1])
    assert moved.dtype == image.dtype


def test_the_nearest_label_is_taken():
    label = np.random.default_rng(0).integers(0, 9, (9, 7, 1)).astype(np.uint8)
    moved = transforms.affine(label, np.eye(2), np.array([0.7, 0.3]), labels=True)
    np.testing.assert_array_equal(moved[:-1], label[1:])
    assert (moved[-1] == data.IGNORE_LABEL).all()


def test_labels_are_never_interpolated():
    label = np.random.default_rng(0).choice([0, 7, 255], (13, 13, 1)).astype(np.uint8)
    for size in (5, 20):
        assert {*np.unique(transforms.resize(label, size, labels=True))} <= {0, 7, 255}
    whole = transforms.resize(label, 39, labels=True)
    np.testing.assert_array_equal(whole, label.repeat(3, axis=0).repeat(3, axis=1))


@pytest.mark.parametrize("change", [*GEOMETRIC, data.ColourJitter()], ids=repr)
def test_frames_change_alike(change):
    image, _ = example()
    clip = np.stack([image, image[::-1], image])
    for seed in range(5):
        moved = change(clip, np.random.default_rng(seed))
        assert moved.ndim == 4 and moved.dtype == np.uint8
        np.testing.assert_array_equal(moved[0], moved[2])
        if change in GEOMETRIC:
            alone = change(image, np.random.default_rng(seed))
            np.testing.assert_array_equal(moved[0], alone)


def test_frames_are_moved_alike():
    image = transforms.normalise(example()[0])
    moved = data.RandomAffine()(np.stack([image] * 3), np.random.default_rng(1))
    alone = data.RandomAffine()(image, np.random.default_rng(1))
    for frame in moved:
        np.testing.assert_array_equal(frame, alone)


def test_composed_changes():
    change = data.Compose([data.ColourJitter(0.0, 0.0, 0.0), *GEOMETRIC[:3]])
    for seed in range(10):
        image, label = change.joint(*example(), np.random.default_rng(seed))
        assert image.shape == (40, 40, 3)
        assert_moved_alike(image, label)


@pytest.mark.parametrize(
    "change",
    [data.RandAugment(), data.Compose([data.RandomFlip(), data.RandAugment()])],
)
def test_what_cannot_move_label_maps_says_so(change):
    batch = data.Compose([change])
    with pytest.raises(TypeError, match=r"RandAugment\(.*changes images only.*`joint"):
        batch.joint(*example(), np.random.default_rng(0))


def test_colours_are_jittered_and_labels_are_not():
    image, label = example()
    changed, same = data.ColourJitter().joint(image, label, np.random.default_rng(0))
    assert same is label
    assert abs(changed.astype(int) - image).mean() > 5
    (kept, *_), others = (
        [data.ColourJitter(*limits)(image, np.random.default_rng(s)) for s in range(20)]
        for limits in ((0.0, 0.0, 0.0), (0.4, 0.4, 0.4))
    )
    np.testing.assert_array_equal(kept, image)
    assert len({other.tobytes() for other in others}) == 20


def test_what_each_jitter_changes():
    image = np.random.default_rng(0).integers(80, 150, (8, 8, 3)).astype(np.uint8)

    def factors(before, after):
        """Returns the factor between two arrays, which must be one for all."""
        factor = (before * after).sum() / (before**2).sum()
        np.testing.assert_allclose(after, factor * before, atol=1.5)
        return factor

    def apart(image):
        """Returns the mean, differences of greys to it, and of colours to those."""
        grey = image.mean(axis=-1, keepdims=True)
        return image.mean(), grey - image.mean(), image - grey

    for seed in range(5):
        rng = lambda: np.random.default_rng(seed)  # noqa: B023, E731
        mean, greys, colours = apart(image.astype(float))
        brighter = data.ColourJitter(0.4, 0.0, 0.0)(image, rng()).astype(float)
        assert 0.6 <= factors(image.astype(float), brighter) <= 1.4
        contrast = apart(data.ColourJitter(0.0, 0.4, 0.0)(image, rng()).astype(float))
        assert abs(contrast[0] - mean) < 0.5
        factor = factors(greys, contrast[1])
        assert 0.6 <= factor <= 1.4
        np.testing.assert_allclose(contrast[2], factor * colours, atol=1.5)
        saturated = apart(data.ColourJitter(0.0, 0.0, 0.4)(image, rng()).astype(float))
        np.testing.assert_allclose(saturated[1], greys, atol=1.0)
        assert 0.6 <= factors(colours, saturated[2]) <= 1.4
