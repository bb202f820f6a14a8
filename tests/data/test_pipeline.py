"""Streams are reproducible and independent of the number of processes."""

import dataclasses

import numpy as np
import pytest

from cnnjax import data


@pytest.fixture(scope="module")
def source(data_dir):
    return data.load("digits", "train[:100]", data_dir)


def batches(source, count, **options):
    options = {"batch_size": 20, "image_size": 8, "seed": 3} | options
    augment = data.RandomAffine()
    stream = data.train_batches(source, augment=augment, **options)
    return [next(stream) for _ in range(count)]


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a["image"], b["image"])
        np.testing.assert_array_equal(a["label"], b["label"])


def test_batches_have_the_right_form(source):
    batch = batches(source, 1, image_size=12)[0]
    assert batch["image"].shape == (20, 12, 12, 1)
    assert batch["image"].dtype == np.float32
    assert batch["label"].shape == (20,)
    assert batch["label"].dtype == np.int32


def test_same_seed_same_stream(source):
    assert_equal(batches(source, 7), batches(source, 7))
    first, other = batches(source, 1)[0], batches(source, 1, seed=4)[0]
    assert not np.array_equal(first["label"], other["label"])


def test_each_epoch_has_every_image_once_in_another_order(source):
    stream = data.train_batches(source, batch_size=20, image_size=8, seed=0)
    epochs = [np.concatenate([next(stream)["image"] for _ in range(5)]) for _ in "ab"]
    originals = np.stack([source[i]["image"] for i in range(100)])
    expected = np.sort(originals.reshape(100, -1) / 127.5 - 1, axis=0)
    for epoch in epochs:
        found = np.sort(epoch.reshape(100, -1), axis=0)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.array_equal(*epochs)


def test_augmentation_differs_between_epochs(source):
    one = dataclasses.replace(source, examples=[source[0]])
    first, second = batches(one, 2, batch_size=1)
    assert not np.array_equal(first["image"], second["image"])


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_the_same_batches(source, process_count):
    parts = [
        batches(source, 6, process_index=i, process_count=process_count)
        for i in range(process_count)
    ]
    for step, whole in enumerate(batches(source, 6)):
        for i, part in enumerate(parts):
            for key, value in whole.items():
                mine = np.split(value, process_count)[i]
                np.testing.assert_array_equal(part[step][key], mine)


@pytest.mark.parametrize("start_step", [0, 3, 11])
def test_the_step_alone_is_the_position(source, start_step):
    """For any number of processes, whatever had been read ahead."""
    every = batches(source, 14)
    assert_equal(batches(source, 3, start_step=start_step), every[start_step:][:3])
    for i in range(2):
        options = {"process_index": i, "process_count": 2, "start_step": start_step}
        for part, whole in zip(
            batches(source, 3, **options), every[start_step:], strict=False
        ):
            mine = np.split(whole["image"], 2)[i]
            np.testing.assert_array_equal(part["image"], mine)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 33, 100, 128])
@pytest.mark.parametrize("process_count", [1, 2])
def test_evaluation_counts_every_image_once(source, batch_size, process_count):
    batch_size *= process_count
    seen, counts = [], []
    for i in range(process_count):
        part = data.eval_batches(
            source,
            batch_size=batch_size,
            image_size=8,
            process_index=i,
            process_count=process_count,
        )
        count = 0
        for batch in part:
            assert batch["image"].shape == (batch_size // process_count, 8, 8, 1)
            seen.extend(batch["image"][batch["mask"]])
            count += 1
        counts.append(count)
    assert len(set(counts)) == 1  # All processes do as many steps.
    originals = np.stack([source[i]["image"] for i in range(100)])
    np.testing.assert_allclose(
        np.sort(np.stack(seen).reshape(100, -1), axis=0),
        np.sort(originals.reshape(100, -1) / np.float32(127.5) - 1, axis=0),
        atol=1e-6,
    )
