"""Images with boxes: by name, and broken ones."""

import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cnnjax import data, errors
from cnnjax.data.detection import StoredObjects


@pytest.fixture(scope="module")
def scenes(scenes_dir):
    return data.load_detection("scenes", "train", scenes_dir, masks=True)


def test_scenes_have_boxes_and_masks(scenes, few_scenes):
    assert len(scenes) == few_scenes["train"]
    assert scenes.class_names == ["background", *"0123456789"]
    assert scenes.left_out == (0, 0)
    most = 0
    for i in range(len(scenes)):
        raw, label = scenes.examples.examples[i], scenes[i]["label"]
        count = raw["instances"].max()
        most = max(most, count)
        assert label["valid"].sum() == count and label["valid"][:count].all()
        assert not label["ignored"].any()
        assert (
            not label["boxes_xyxy"][count:].any() and not label["labels"][count:].any()
        )
        np.testing.assert_array_equal(label["photo_sizes"], [64, 64])
        for k in range(count):
            mask = raw["instances"][..., 0] == k + 1
            np.testing.assert_array_equal(label["masks"][k], mask)
            rows, columns = mask.nonzero()
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_array_equal(label["boxes_xyxy"][k], box)
            classes = {*raw["segmentation_mask"][mask].ravel().tolist()}
            assert classes == {label["labels"][k]}
    assert scenes.max_objects == most
    assert scenes[3] is scenes[3]  # Decoded once.


def test_objects_without_a_row_are_an_error_or_counted(scenes, scenes_dir):
    counts = np.array([example["label"]["valid"].sum() for example in scenes])
    over = counts[counts > 4] - 4
    message = (
        rf"^{len(over)} of 12 images of scenes/train have more than 4 objects \(up to "
        rf"{counts.max()}\): raise max_objects"
    )
    with pytest.raises(errors.UserError, match=message):
        data.load_detection("scenes", "train", scenes_dir, max_objects=4)
    few = data.load_detection(
        "scenes", "train", scenes_dir, max_objects=4, leave_out=True
    )
    assert few.left_out == (over.sum(), len(over))
    for i, example in enumerate(few):
        label = example["label"]
        assert label["valid"].sum() == min(4, counts[i])
        everything = scenes[i]["label"]
        # The largest are left, in the order in which they were.
        areas = everything["photo_areas"]
        kept = np.sort(np.argsort(-areas, kind="stable")[:4])
        for key, value in label.items():
            if key != "photo_sizes":
                np.testing.assert_array_equal(value, everything[key][kept])
    with pytest.raises(errors.UserError, match="must be at least 1, not 0"):
        data.load_detection("scenes", "train", scenes_dir, max_objects=0)


def test_large_masks_are_not_kept_in_memory(monkeypatch):
    masks = np.ones((1, 10, 20), bool)
    image, rows = 10 * 20 * 3, 4 * (16 + 4 + 4 + 1 + 1) + 2 * 4 + 4 * 10 * 20
    for room, kept in ((image + rows, True), (image + rows - 1, False)):
        monkeypatch.setattr("cnnjax.data.sources.CACHE_BYTES", room)
        source = one(made(masks=masks), masks=True)
        assert (source[0] is source[0]) == kept


def test_what_counts_is_kept_before_what_does_not():
    boxes = [[0, 0, 5, 5], [0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]
    raw = made(boxes_xyxy=boxes, labels=[1] * 4, ignored=[True, False, False, True])
    source = one(raw, max_objects=3, leave_out=True)
    label = source[0]["label"]
    assert label["photo_areas"].tolist() == [25, 1, 4]
    assert label["valid"].tolist() == [False, True, True]
    with pytest.raises(errors.UserError, match="has 4 objects; there are rows for 3"):
        one(raw, max_objects=3)[0]


def made(**changes):
    image = np.zeros((10, 20, 3), np.uint8)
    raw = {"image": image, "boxes_xyxy": [[1, 2, 19, 9]], "labels": [2]}
    return raw | {"ignored": [False]} | changes


def one(raw, **options):
    return data.DetectionSource(
        name="made/train",
        examples=[raw],
        image_shape=(None, None, 3),
        class_names=["background", "cat", "dog"],
        **{"max_objects": 4} | options,
    )


def test_an_image_without_objects():
    label = one(made(boxes_xyxy=[], labels=[], ignored=[], masks=[]))[0]["label"]
    assert label["boxes_xyxy"].shape == (4, 4) and label["labels"].dtype == np.int32
    for key, value in label.items():
        assert key == "photo_sizes" or not value.any()


def test_boxes_are_cut_at_the_image_and_empty_ones_are_ignored():
    raw = made(
        boxes_xyxy=[[-0.5, 0, 20.9, 10], [3, 3, 3, 8]], labels=[1, 2], ignored=[0, 0]
    )
    label = one(raw)[0]["label"]
    np.testing.assert_array_equal(
        label["boxes_xyxy"][:2], [[0, 0, 20, 10], [3, 3, 3, 8]]
    )
    assert label["valid"].tolist() == [True, False, False, False]
    assert label["ignored"].tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"boxes_xyxy": [[5, 2, 4, 9]]}, r"\(5, 2, 4, 9\), which ends before it start"),
        ({"boxes_xyxy": [[5, 9, 6, 2]]}, "which ends before it starts"),
        ({"boxes_xyxy": [[-1.5, 2, 4, 9]]}, "which is not in its 10 x 20 pixels"),
        ({"boxes_xyxy": [[1, 2, 21.5, 9]]}, "which is not in its 10 x 20 pixels"),
        ({"boxes_xyxy": [[1, 2, 4, 11.5]]}, "which is not in its 10 x 20 pixels"),
        ({"boxes_xyxy": [[1, 2, np.nan, 9]]}, r"\(1, 2, nan, 9\), which is not in"),
        ({"boxes_xyxy": [[1, 2, np.inf, 9]]}, "inf, 9"),
        ({"boxes_xyxy": [1, 2, 3]}, "cannot be read: ValueError"),
        ({"labels": [3]}, "has label 3; there are 3 classes"),
        ({"labels": [-1]}, "has label -1; there are 3 classes"),
        ({"labels": [0]}, "has an object of label 0, which is the background"),
        ({"labels": [1, 2]}, "has not one number of objects: .*'labels': 2"),
        ({"ignored": []}, "has not one number of objects: .*'ignored': 0"),
        ({"photo_areas": []}, "has not one number of objects"),
        ({"image": np.zeros((10, 20), np.uint8)}, "is no image"),
        ({"masks": np.zeros((1, 10, 19))}, r"has masks of shape \(1, 10, 19\) instead"),
        ({"masks": np.zeros((2, 10, 20))}, r"instead of \(1, 10, 20\)"),
        ({}, "cannot be read: KeyError: 'masks'"),
    ],
)
def test_a_broken_object_is_named(changes, message):
    source = one(made(**changes), masks="masks" in changes or not changes)
    with pytest.raises(errors.UserError, match=f"^image 0 of made/train .*{message}"):
        source[0]


def test_what_tfds_stores_of_objects():
    raw = {
        "image": np.zeros((10, 20, 3), np.uint8),
        "objects": {
            "bbox": [np.array([0.1, 0.25, 0.5, 0.75]), np.array([0, 0, 1, 1])],
            "label": [np.int64(3), np.int64(0)],
            "is_crowd": [False, True],
            "area": [7, 9],
        },
        "instances": np.array([[[0], [2]]], np.uint8),
    }
    stored = StoredObjects([raw], masks=True)
    parsed = stored[0]
    np.testing.assert_allclose(parsed["boxes_xyxy"], [[5, 1, 15, 5], [0, 0, 20, 10]])
    assert parsed["labels"].tolist() == [4, 1]
    assert parsed["ignored"].tolist() == [False, True]
    assert parsed["photo_areas"].tolist() == [7, 9]
    np.testing.assert_array_equal(parsed["masks"], [[[False, False]], [[False, True]]])
    raw["instances"] += np.uint8(1)
    source = one(None, masks=True)
    source = dataclasses.replace(source, examples=stored)
    with pytest.raises(errors.UserError, match="has pixels of object 3, but 2 objects"):
        source[0]


class Voc(tfds.core.GeneratorBasedBuilder):
    """A data set with what VOC has, two images of two and no objects."""

    name = "made_voc"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        objects = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "is_difficult": np.bool_,
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "objects": tfds.features.Sequence(objects),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        image = Image.new("RGB", (20, 10))
        objects = [
            {
                "bbox": tfds.features.BBox(ymin=0.1, xmin=0.25, ymax=0.5, xmax=0.75),
                "label": label,
                "is_difficult": label == "cat",
            }
            for label in ("dog", "cat")
        ]
        yield 0, {"image": image, "objects": objects}
        yield 1, {"image": image, "objects": []}


def test_difficult_objects_are_ignored(tmp_path):
    made_voc = Voc(data_dir=tmp_path, file_format="array_record")
    made_voc.download_and_prepare()
    source = data.load_detection("made_voc", "train", tmp_path)
    assert source.class_names == ["background", "cat", "dog"]
    assert len(source) == 2 and source.max_objects == 2
    label = source[0]["label"]
    np.testing.assert_allclose(label["boxes_xyxy"], [[5, 1, 15, 5]] * 2, rtol=1e-6)
    assert label["labels"].tolist() == [2, 1]
    assert label["valid"].tolist() == [True, False]
    assert label["ignored"].tolist() == [False, True]
    assert not source[1]["label"]["valid"].any()
    with pytest.raises(errors.UserError, match=r"needs 'image' and .* and 'instances'"):
        data.load_detection("made_voc", "train", tmp_path, masks=True)


@pytest.mark.parametrize(
    "name, message",
    [
        ("digits", "'digits' is not object detection: .*needs 'image' and 'objects'"),
        ("scenes/clips", "is not object detection"),
        ("scenes/dens", "did you mean scenes/dense"),
        ("voc", "not prepared"),
    ],
)
def test_what_is_no_detection_is_named(tmp_path, name, message):
    with pytest.raises(errors.UserError, match=message):
        data.load_detection(name, "train", tmp_path)
    assert not [*tmp_path.iterdir()]
