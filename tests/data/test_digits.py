"""The embedded digits: the right images in the right order, safely prepared."""

import multiprocessing
import os

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnnjax import data, errors
from cnnjax.data import _embedded, digits


@pytest.mark.parametrize("split", digits.SPLITS)
def test_images_are_scikit_learns_in_their_order(data_dir, split):
    expected = load_digits()
    part = digits.SPLITS[split]
    source = data.load("digits", split, data_dir)
    images = np.stack([source[i]["image"][..., 0] for i in range(len(source))])
    labels = [source[i]["label"] for i in range(len(source))]
    np.testing.assert_array_equal(images, np.round(expected.images[part] * 255 / 16))
    np.testing.assert_array_equal(labels, expected.target[part])


def test_splits_cover_all_images_once():
    sizes = [part.stop - part.start for part in digits.SPLITS.values()]
    assert sizes == [1297, 140, 360]
    assert sum(sizes) == len(load_digits().images)


def prepare(folder, barrier, queue):
    barrier.wait()
    _embedded.prepare(digits.Digits, folder)
    queue.put(os.getpid())


def test_two_processes_may_prepare_at_the_same_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=prepare, args=(tmp_path, barrier, queue))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len({queue.get(), queue.get()}) == 2
    assert len(data.load("digits", "train", tmp_path)) == 1297
    assert [p.name for p in tmp_path.iterdir()] == ["digits"]  # No scratch is left.


def test_a_faster_process_wins_and_the_slower_succeeds(tmp_path, monkeypatch):
    os_rename = os.rename

    def rename(source, target):
        os_rename(source, target)
        if "incomplete" not in str(source):  # TFDS's own renaming.
            raise OSError("directory not empty")  # As if another had just done it.

    monkeypatch.setattr(_embedded.os, "rename", rename)
    _embedded.prepare(digits.Digits, tmp_path)
    assert len(data.load("digits", "test", tmp_path)) == 360


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UserError, match=r"cannot write.*file/data.*--data-dir"):
        data.load("digits", "train", tmp_path / "file" / "data")
