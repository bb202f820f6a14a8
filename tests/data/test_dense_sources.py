"""Segmentation and clips by name, and what broken ones get."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnnjax import data, errors
from cnnjax.data import scenes


@pytest.fixture(scope="module")
def segmentation(scenes_dir):
    return data.load_segmentation("scenes", "train", scenes_dir)


@pytest.fixture(scope="module")
def clips(scenes_dir):
    return data.load_clips("scenes/clips", "train", scenes_dir)


def test_scenes_are_prepared_and_read(segmentation, few_scenes):
    assert len(segmentation) == few_scenes["train"]
    assert segmentation.image_shape == (64, 64, 3)
    assert segmentation.class_names == ["background", *"0123456789"]
    for example in segmentation:
        assert example["image"].shape == (64, 64, 3)
        assert example["label"].shape == (64, 64)
        assert example["image"].dtype == example["label"].dtype == np.uint8
        assert 0 < example["label"].max() <= 10
    assert segmentation[3] is segmentation[3]  # Decoded once.


def test_boxes_and_instances_stay_at_hand(segmentation):
    raw = segmentation.examples[2]
    boxes, labels = raw["objects"]["bbox"], raw["objects"]["label"]
    assert len(boxes) == len(labels) == raw["instances"].max()
    for number, label in enumerate(labels, start=1):
        mask = raw["instances"][..., 0] == number
        assert (segmentation[2]["label"][mask] == label + 1).all()


def test_default_scenes_are_the_dense_ones(segmentation, scenes_dir):
    dense = data.load_segmentation("scenes/dense", "train", scenes_dir)
    np.testing.assert_array_equal(dense[0]["image"], segmentation[0]["image"])
    sparse = data.load_segmentation("scenes/sparse", "train[:3]", scenes_dir)
    assert (sparse[0]["label"] > 0).mean() < 0.03


def test_clips_are_prepared_and_read(clips, scenes_dir, few_scenes):
    assert len(clips) == few_scenes["train"]
    assert clips.image_shape == (8, 64, 64, 1)
    assert clips.class_names == ["right", "down", "left", "up"]
    assert clips[5]["image"].shape == (8, 64, 64, 1)
    assert clips[5]["image"].dtype == np.uint8
    counts = data.load_clips("scenes/counts", "test", scenes_dir)
    assert counts.class_names == ["1", "2", "3", "4", "5"]
    assert {example["label"] for example in counts} <= {*range(5)}


def test_pets_have_labels_from_one(tmp_path):
    with tfds.testing.mock_data(num_examples=2):
        pets = data.load_segmentation("oxford_iiit_pet", "train", tmp_path)
    assert pets.class_names == ("pet", "background", "border")
    mask = np.array([[[1], [2]], [[3], [255]]], np.uint8)
    raw = {"image": np.zeros((2, 2, 3), np.uint8), "segmentation_mask": mask}
    pets = dataclasses.replace(pets, examples=[raw])
    np.testing.assert_array_equal(pets[0]["label"], [[0, 1], [2, 255]])
    assert pets[0]["label"].dtype == np.uint8
    mask[0, 0] = 0
    pets = dataclasses.replace(pets, examples=[raw])
    with pytest.raises(
        errors.UserError, match="has label 0 in its mask; there are 1 t"
    ):
        pets[0]


IMAGE, MASK = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 1), np.uint8)


@pytest.mark.parametrize(
    "image, mask, message",
    [
        (
            IMAGE,
            MASK + np.uint8(11),
            "has label 11 in its mask; there are 0 to 10, and",
        ),
        (IMAGE, MASK[:3], r"has a mask of shape \(3, 6, 1\).*must be \(4, 6, 1\)"),
        (IMAGE, IMAGE, r"has a mask of shape \(4, 6, 3\)"),
        (IMAGE, MASK[..., 0], r"has a mask of shape \(4, 6\)"),
        (IMAGE, MASK.astype(np.int32), "has a mask .* type int32"),
        (IMAGE[..., 0], MASK, r"is no image: shape \(4, 6\)"),
        (IMAGE.astype(np.float32), MASK, "is no image: .*float32"),
    ],
)
def test_a_broken_mask_is_named(segmentation, image, mask, message):
    raw = {"image": image, "segmentation_mask": mask}
    source = dataclasses.replace(segmentation, examples=[raw])
    with pytest.raises(errors.UserError, match=f"^image 0 of scenes/train {message}"):
        source[0]


def test_a_missing_mask_is_named(segmentation):
    source = dataclasses.replace(segmentation, examples=[{"image": IMAGE}])
    with pytest.raises(errors.UserError, match=r"image 0 .* cannot be read: KeyError"):
        source[0]


FRAMES = np.zeros((8, 6, 6, 1), np.uint8)


@pytest.mark.parametrize(
    "video, label, message",
    [
        (FRAMES[:7], 0, "has 7 frames instead of 8"),
        (np.repeat(FRAMES, 2, axis=0), 0, "has 16 frames instead of 8"),
        (FRAMES[:0], 0, r"is no clip: shape \(0, 6, 6, 1\)"),
        (FRAMES[0], 0, r"is no clip: shape \(6, 6, 1\)"),
        (FRAMES.astype(np.float64), 0, "is no clip: .*float64"),
        ([FRAMES[0], FRAMES[0, 1:]], 0, "cannot be read: ValueError"),
        (FRAMES, 4, "has label 4; there are 4 classes"),
    ],
)
def test_a_broken_clip_is_named(clips, video, label, message):
    source = dataclasses.replace(clips, examples=[{"video": video, "label": label}])
    with pytest.raises(
        errors.UserError, match=f"^clip 0 of scenes/clips/t.* {message}"
    ):
        source[0]
    with pytest.raises(
        IndexError, match="no clip 1 in scenes/clips/train, which has 1"
    ):
        source[1]


@pytest.mark.parametrize(
    "load, name, message",
    [
        (data.load_segmentation, "scenes/dens", "did you mean scenes/dense"),
        (
            data.load_segmentation,
            "digits",
            "not segmentation: .*needs 'image' and 'seg",
        ),
        (data.load_segmentation, "voc", "'voc' is not segmentation: its features are"),
        (data.load_segmentation, "oxford_iiit_pet", "not prepared"),
        (data.load_segmentation, "scenes/clips", "is not segmentation"),
        (data.load_clips, "digits", "not video classification: .*'video' and 'label'"),
        (data.load_clips, "scenes", "is not video classification"),
        (data.load, "scenes", "is not image classification"),
    ],
)
def test_what_does_not_fit_the_task(tmp_path, load, name, message):
    with pytest.raises(errors.UserError, match=message):
        load(name, "train", tmp_path)
    assert not [*tmp_path.iterdir()]  # Nothing is made in vain.


class Made(tfds.core.GeneratorBasedBuilder):
    """A data set whose masks have no names, and whose clips no common length."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 1))
        features = {
            "image": image,
            "segmentation_mask": image,
            "video": tfds.features.Sequence(image),
            "label": tfds.features.ClassLabel(num_classes=2),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield from ()


@pytest.mark.parametrize(
    "load, message",
    [
        (data.load_segmentation, "does not tell the classes of its masks: .*LabeledIm"),
        (
            data.load_clips,
            r"no clips of one length: the shape .*\(None, None, None, 1\)",
        ),
    ],
)
def test_what_a_data_set_leaves_open_is_named(tmp_path, load, message):
    with (
        tfds.testing.mock_data(num_examples=1),
        pytest.raises(errors.UserError, match=message),
    ):
        load("made", "train", tmp_path)


def test_scenes_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        errors.UserError, match=r"cannot write.*'scenes/sparse'.*--data"
    ):
        data.load_segmentation("scenes/sparse", "train", tmp_path / "file" / "data")


def test_no_more_objects_than_promised():
    stills = [c for c in scenes.Scenes.BUILDER_CONFIGS if isinstance(c, scenes.Stills)]
    assert max(config.counts[1] for config in stills) == scenes.MAX_OBJECTS
