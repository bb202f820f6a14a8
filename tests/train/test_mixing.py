"""Mixtures keep what they must: ranges, areas, and that labels are shares."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import train


N, SIDE, CLASSES = 6, 12, 4
# Every image is one grey level of its own, so that a mixture shows what it is of.
LEVELS = np.arange(1.0, N + 1, dtype=np.float32)
BATCH = {
    "image": jnp.broadcast_to(LEVELS[:, None, None, None], (N, SIDE, SIDE, 3)),
    "label": jnp.array([0, 1, 2, 3, 0, 1]),
}


@functools.cache
def compiled(function, **options):
    return jax.jit(functools.partial(function, num_classes=CLASSES, **options))


def mixed(function, seed, **options):
    return compiled(function, **options)(BATCH, jax.random.key(seed))


@pytest.mark.parametrize("seed", range(5))
def test_mixup(seed):
    batch = mixed(train.mixup, seed, alpha=0.4)
    image = np.asarray(batch["image"])
    assert np.ptp(image, axis=(1, 2, 3)).max() < 1e-6
    share = (image[0, 0, 0, 0] - LEVELS[-1]) / (LEVELS[0] - LEVELS[-1])
    assert 0 <= share <= 1
    expected = share * LEVELS + (1 - share) * LEVELS[::-1]
    np.testing.assert_allclose(image[:, 0, 0, 0], expected, rtol=1e-5)
    one_hot = np.eye(CLASSES)[np.asarray(BATCH["label"])]
    np.testing.assert_allclose(
        batch["label"], share * one_hot + (1 - share) * one_hot[::-1], atol=1e-5
    )


@pytest.mark.parametrize("seed", range(5))
def test_cutmix(seed):
    batch = mixed(train.cutmix, seed, alpha=1.0)
    image = np.asarray(batch["image"])
    pasted = image[0, :, :, 0] == LEVELS[-1]
    assert np.all(pasted | (image[0, :, :, 0] == LEVELS[0]))
    rows, columns = pasted.any(axis=1), pasted.any(axis=0)
    np.testing.assert_array_equal(pasted, rows[:, None] & columns[None])  # A box.
    share = 1 - pasted.mean()
    one_hot = np.eye(CLASSES)[np.asarray(BATCH["label"])]
    np.testing.assert_allclose(
        batch["label"], share * one_hot + (1 - share) * one_hot[::-1], atol=1e-6
    )


def test_boxes_have_all_areas():
    areas = [
        np.mean(mixed(train.cutmix, seed, alpha=1.0)["image"][0] == LEVELS[-1])
        for seed in range(30)
    ]
    assert min(areas) < 0.1 and max(areas) > 0.5


def test_either():
    def is_pasted(seed, mixup_alpha):
        alphas = {"mixup_alpha": mixup_alpha, "cutmix_alpha": 1.0}
        batch = mixed(train.mixup_or_cutmix, seed, **alphas)
        return np.isin(batch["image"], LEVELS).all()

    assert 4 < sum(is_pasted(seed, 0.2) for seed in range(24)) < 20
    assert all(is_pasted(seed, 0.0) for seed in range(3))
