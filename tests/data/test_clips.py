"""Clips: direction and number can be told, but not by looking at one frame."""

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import _drawing, _embedded, clips, scenes


CONFIGS = {config.name: config for config in scenes.Scenes.BUILDER_CONFIGS}
STEPS = np.array([*clips.DIRECTIONS.values()])


def draw(name, seed):
    images, labels = _embedded.load_digits()
    example = CONFIGS[name].draw(np.random.default_rng(seed), images, labels)
    frames = [np.asarray(Image.open(frame)) for frame in example["video"]]
    return np.stack(frames).astype(np.float32), example["label"]


def moves(name, count, sides):
    """Returns labels [n] and corners [n, t, k, 2]."""
    rng = np.random.default_rng(0)
    labels, corners = zip(
        *(CONFIGS[name].move(rng, np.array(sides)) for _ in range(count)), strict=True
    )
    return np.array(labels), np.stack(corners)


def test_all_digits_drift_the_labels_way():
    labels, corners = moves("clips", 50, [14, 20, 26])
    steps = np.diff(corners, axis=1) % 64
    for step, label in zip(steps, labels, strict=True):
        speeds = ((step * STEPS[label]).sum(axis=-1)) % 64
        assert speeds.min() >= 2 and speeds.max() <= 5
        assert (speeds == speeds[0]).all()  # Of each digit, in each frame.
        np.testing.assert_array_equal(step, speeds[..., None] * STEPS[label] % 64)


def test_places_in_a_frame_do_not_depend_on_the_direction():
    """On a ring, the mean of what is uniform is 0; so are all products of two."""
    labels, corners = moves("clips", 6000, [20, 20])
    for frame in (0, 4, 7):
        ring = np.exp(2j * np.pi / 64 * corners[:, frame].reshape(-1, 4))
        products = [ring[:, i] * ring[:, j] for i in range(4) for j in range(i)]
        ratios = [ring[:, i] / ring[:, j] for i in range(4) for j in range(i)]
        for label in range(4):
            for value in (*ring.T, *products, *ratios):
                chosen = value[labels == label]
                assert abs(chosen.mean()) < 4 / np.sqrt(len(chosen))


def test_what_a_clip_looks_like_does_not_depend_on_where_it_starts(monkeypatch):
    """The first frames of two directions are the same; so nothing else tells."""

    def stand_still(label):
        return lambda self, rng, sides: (label, np.full((8, len(sides), 2), 9))

    seen = []
    for label in range(4):
        monkeypatch.setattr(clips.Clips, "move", stand_still(label))
        seen.append(draw("clips", 3)[0])
    for other in seen[1:]:
        np.testing.assert_array_equal(seen[0], other)


def told_direction(frames):
    """Returns the direction in which successive differences to the mean move most."""
    moving = frames - np.median(frames, axis=0)
    spectrum = np.fft.fft2(moving)
    shifts = np.fft.ifft2(spectrum[1:] * spectrum[:-1].conj()).real.sum(axis=0)
    return np.argmax(
        [max(shifts[tuple(speed * step)] for speed in range(2, 6)) for step in STEPS]
    )


def test_the_direction_can_be_told_from_all_frames():
    drawn = [draw("clips", seed) for seed in range(100)]
    assert np.mean([told_direction(frames) == label for frames, label in drawn]) > 0.95
    labels = np.bincount([label for _, label in drawn])
    assert labels.min() > 12
    rng = np.random.default_rng(0)
    shuffled = [(rng.permutation(frames), label) for frames, label in drawn]
    assert np.mean([told_direction(f) == label for f, label in shuffled]) < 0.6


def test_digits_bounce_off_the_sides():
    sides = np.array([12, 20, 26])
    labels, corners = moves("counts", 300, sides)
    assert (labels == 2).all()
    room = 64 - sides[:, None]
    assert corners.min() == 0 and (corners <= room).all()
    assert (corners.max(axis=(0, 1)) == room).all()
    steps = np.diff(corners, axis=1)
    assert abs(steps).max() == 4
    turned = (steps[:, 1:] * steps[:, :-1] < 0).any(axis=1)
    assert 0.1 < turned.mean() < 0.9
    assert np.unique(np.sign(steps[:, 0]), axis=0).shape[0] > 20  # Each on its own.


def test_each_digit_that_counts_is_seen(monkeypatch):
    """Here wholly, so that some have to be drawn anew."""
    films = []
    film = _drawing.film

    def recorded(*args):
        films.append(film(*args))
        return films[-1]

    monkeypatch.setattr(_drawing, "film", recorded)
    assert CONFIGS["counts"].least_seen == 0.6
    monkeypatch.setattr(CONFIGS["counts"], "least_seen", 1.0)
    labels = [draw("counts", seed)[1] for seed in range(60)]
    shares = [shares for _, shares in films if (shares == 1).all()]
    assert [len(share) for share in shares] == [label + 1 for label in labels]
    assert {*labels} == {*range(5)}
    assert len(films) > len(shares)


def test_seen_shares():
    """A square that is covered at first, and half covered in the second frame."""
    square = np.ones((4, 4))
    inks = [np.array([0.5]), np.array([1.0])]
    corners = np.array([[[2, 2], [2, 2]], [[2, 2], [2, 4]]])
    frames, seen = _drawing.film(np.zeros((9, 9, 1)), [square] * 2, inks, corners)
    np.testing.assert_allclose(seen, [0.5, 1.0])
    assert (frames[0, 2:6, 2:6] == 1.0).all() and frames[0].sum() == 16
    assert (frames[1, 2:6, 2:4] == 0.5).all() and (frames[1, 2:6, 4:8] == 1.0).all()


@pytest.mark.parametrize("name, classes", [("clips", 4), ("counts", 5)])
def test_features_name_the_classes(name, classes):
    features = CONFIGS[name].features()
    assert features["label"].num_classes == classes
    assert features["video"].shape == (8, 64, 64, 1)
