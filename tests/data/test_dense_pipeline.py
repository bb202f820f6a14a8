"""Batches of label maps and of clips."""

import dataclasses

import numpy as np
import pytest

from cnnjax import data


@pytest.fixture(scope="module")
def segmentation(scenes_dir):
    return data.load_segmentation("scenes", "train", scenes_dir)


@pytest.fixture(scope="module")
def clips(scenes_dir):
    return data.load_clips("scenes/clips", "train", scenes_dir)


def coded(segmentation):
    """Returns images each of whose values is that of the label map, times 20."""
    examples = []
    for i in range(len(segmentation)):
        mask = segmentation.examples[i]["segmentation_mask"]
        image = np.repeat(mask * np.uint8(20), 3, axis=-1)
        examples.append({"image": image, "segmentation_mask": mask})
    return dataclasses.replace(segmentation, examples=examples)


def decoded(image):
    return np.rint((image[..., 0] + 1) * (127.5 / 20)).astype(int)


def batches(source, count, **options):
    options = {"batch_size": 4, "image_size": 64, "seed": 3} | options
    stream = data.train_batches(source, **options)
    return [next(stream) for _ in range(count)]


AUGMENTED = {
    "augment_bytes": data.Compose(
        [data.RandomResizedCrop(48, area=(0.5, 1.0)), data.RandomFlip()]
    ),
    "augment": data.RandomAffine(),
}


def test_label_maps_come_with_their_images(segmentation):
    batch = batches(coded(segmentation), 1)[0]
    assert batch["image"].shape == (4, 64, 64, 3)
    assert batch["image"].dtype == np.float32
    assert batch["label"].shape == (4, 64, 64)
    assert batch["label"].dtype == np.int32
    np.testing.assert_array_equal(decoded(batch["image"]), batch["label"])


def test_label_maps_follow_their_images(segmentation):
    """The classes' values are far apart only where there are but two."""
    two = coded(segmentation)
    examples = []
    for raw in two.examples:
        mask = np.minimum(raw["segmentation_mask"], 1)
        image = np.repeat(mask * np.uint8(200), 3, axis=-1)
        examples.append({"image": image, "segmentation_mask": mask})
    two = dataclasses.replace(two, examples=examples)
    plain, changed = batches(two, 3), batches(two, 3, **AUGMENTED, image_size=48)
    assert changed[0]["label"].shape == (4, 48, 48)
    for batch in changed:
        known = batch["label"] != data.IGNORE_LABEL
        assert 0.5 < known.mean() < 1
        found = batch["image"][..., 0][known] > 100 / 127.5 - 1
        assert np.mean(found == batch["label"][known]) > 0.96
    assert plain[0]["label"].mean() > 0.1


def test_an_augmentation_that_leaves_label_maps_behind_is_refused(segmentation):
    with pytest.raises(TypeError, match=r"RandAugment.*changes images only"):
        batches(segmentation, 1, augment_bytes=data.RandAugment())


@pytest.mark.parametrize("kind", ["segmentation", "clips"])
def test_streams_are_a_function_of_seed_and_position(kind, request):
    source = request.getfixturevalue(kind)
    options = AUGMENTED if kind == "segmentation" else {"augment": data.RandomAffine()}
    options = options | {"image_size": 48}
    whole = batches(source, 4, **options)
    again = batches(source, 2, start_step=2, **options)
    parts = [
        batches(source, 4, process_index=i, process_count=2, **options)
        for i in range(2)
    ]
    for step, batch in enumerate(whole):
        for key, value in batch.items():
            split = np.concatenate([part[step][key] for part in parts])
            np.testing.assert_array_equal(split, value)
            if step >= 2:
                np.testing.assert_array_equal(again[step - 2][key], value)
    other = batches(source, 1, **(options | {"seed": 4}))[0]
    assert not np.array_equal(other["image"], whole[0]["image"])


@pytest.mark.parametrize("process_count", [1, 2])
def test_evaluation_has_every_label_map_once(segmentation, process_count):
    seen = []
    for i in range(process_count):
        for batch in data.eval_batches(
            segmentation,
            batch_size=8,
            image_size=64,
            process_index=i,
            process_count=process_count,
        ):
            size = 8 // process_count
            assert batch["label"].shape == (size, 64, 64)
            assert batch["label"].dtype == np.int32
            assert batch["mask"].shape == (size,)
            assert not batch["label"][~batch["mask"]].any()
            seen += [label.tobytes() for label in batch["label"][batch["mask"]]]
    expected = [segmentation[i]["label"].astype(np.int32) for i in range(12)]
    assert sorted(seen) == sorted(label.tobytes() for label in expected)


def test_oblong_images_show_their_middle(segmentation):
    mask = np.zeros((20, 40, 1), np.uint8)
    mask[:, 10:30] = 3
    raw = {
        "image": np.repeat(mask * np.uint8(20), 3, axis=-1),
        "segmentation_mask": mask,
    }
    source = dataclasses.replace(segmentation, examples=[raw])
    for size in (10, 40):
        (batch,) = data.eval_batches(source, batch_size=1, image_size=size)
        assert batch["image"].shape == (1, size, size, 3)
        assert (batch["label"] == 3).all() and (decoded(batch["image"]) == 3).all()
    (batch,) = data.eval_batches(source, batch_size=1, image_size=10, crop=0.5)
    assert (batch["label"] == 3).all()


def test_clips(clips):
    batch = batches(clips, 1, image_size=32)[0]
    assert batch["image"].shape == (4, 8, 32, 32, 1)
    assert batch["image"].dtype == np.float32
    assert batch["label"].shape == (4,) and batch["label"].dtype == np.int32
    seen = 0
    for batch in data.eval_batches(clips, batch_size=5, image_size=64):
        assert batch["image"].shape == (5, 8, 64, 64, 1)
        for frames, label in zip(
            batch["image"][batch["mask"]], batch["label"], strict=False
        ):
            expected = clips[seen]["image"] / np.float32(127.5) - 1
            np.testing.assert_allclose(frames, expected, atol=1e-6)
            assert label == clips[seen]["label"]
            seen += 1
    assert seen == len(clips)
