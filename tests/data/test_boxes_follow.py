"""Boxes and masks follow their images, and batches have them."""

import dataclasses

import numpy as np
import pytest

from cnnjax import data
from cnnjax.data import transforms


BYTES = [
    data.RandomFlip(),
    data.RandomCrop(8),
    data.RandomResizedCrop(50, area=(0.4, 1.0)),
    data.RandomResizedCrop(96, area=(0.2, 0.6)),
]


def source(count=4, height=48, width=56, **options):
    """Images that are black but for three rectangles: bright in a channel each."""
    examples = []
    for i in range(count):
        image = np.zeros((height, width, 3), np.uint8)
        boxes = np.array([[3, 5, 19, 20], [24, 8, 48, 22], [10 + i, 28, 34, 44]])
        masks = np.zeros((3, height, width), bool)
        for channel, (x1, y1, x2, y2) in enumerate(boxes):
            masks[channel, y1:y2, x1:x2] = True
            image[..., channel] = masks[channel] * 255
        examples.append(
            {
                "image": image,
                "boxes_xyxy": boxes,
                "labels": [1, 2, 3],
                "ignored": [False, False, True],
                "masks": masks,
            }
        )
    return data.DetectionSource(
        name="rectangles",
        examples=examples,
        image_shape=(height, width, 3),
        class_names=["background", "red", "green", "blue"],
        **{"max_objects": 5, "masks": True} | options,
    )


def assert_boxes_are_around(image, label, slack):
    """What is bright in the i-th channel is in the i-th box and reaches its sides."""
    there = label["valid"] | label["ignored"]
    for channel in range(3):
        bright = image[..., channel] > 0
        if not there[channel]:
            assert not label["boxes_xyxy"][channel].any()
            continue
        rows, columns = bright.nonzero()
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(label["boxes_xyxy"][channel], found, atol=slack)
        # But where a resized edge is grey.
        assert np.mean(label["masks"][channel] != bright) <= (0.01 if slack else 0.0)


@pytest.mark.parametrize("change", BYTES, ids=repr)
def test_boxes_and_masks_follow(change):
    example, counted = source()[0], set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        image, label = change.joint(example["image"], example["label"], rng)
        near = np.rint(image / 255.0)
        if (label["valid"] | label["ignored"])[:3].all():
            assert_boxes_are_around(near, label, 1.5)
        assert (label["ignored"] & label["valid"]).sum() == 0
        assert label["boxes_xyxy"].dtype == np.float32
        counted.add(label["boxes_xyxy"].tobytes())
        same = change(example["image"], np.random.default_rng(seed))
        np.testing.assert_array_equal(image, same)
    assert len(counted) > 1


def test_boxes_follow_an_affine_change_exactly():
    """The corners of the hull come from the same map as the pixels."""
    example = source()[1]
    image = transforms.normalise(example["image"])
    shrink = data.RandomAffine(rotation=0.0, scale=0.3, shear=0.0, shift=0.1)
    for seed in range(20):
        moved, label = shrink.joint(
            image, example["label"], np.random.default_rng(seed)
        )
        if label["valid"][:2].all() and label["ignored"][2]:
            near = np.rint((moved + 1) / 2)
            rows = {"masks": near.transpose(2, 0, 1) > 0}
            assert_boxes_are_around(near, label | rows, 0.51)
    turned, whole = data.RandomAffine(40.0, 0.2, 0.2, 0.05), 0
    for seed in range(20):
        moved, label = turned.joint(
            image, example["label"], np.random.default_rng(seed)
        )
        for channel in range(3):
            rows, columns = (moved[..., channel] > 0).nonzero()
            x1, y1, x2, y2 = label["boxes_xyxy"][channel]
            assert columns.min() + 0.6 > x1 and columns.max() + 0.4 < x2
            assert rows.min() + 0.6 > y1 and rows.max() + 0.4 < y2
            found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            if rows.min() and columns.min() and found[2] < 56 and found[3] < 48:
                # Of the corner of a rectangle no pixel's middle is inside.
                np.testing.assert_allclose([x1, y1, x2, y2], found, atol=2.5)
                whole += 1
    assert whole > 10


def one_box(box, **more):
    arrays = {
        "boxes_xyxy": [box, [0, 0, 0, 0]],
        "labels": [1, 0],
        "photo_areas": [9, 0],
    }
    dtypes = {"boxes_xyxy": np.float32, "labels": np.int32, "photo_areas": np.float32}
    objects = {key: np.array(value, dtypes[key]) for key, value in arrays.items()}
    flags = {"valid": np.array([True, False]), "ignored": np.array([False, False])}
    return objects | flags | more


def shifted(x):
    return transforms.Move(lambda image, _: image, np.array([[1.0, 0, x], [0, 1, 0]]))


@pytest.mark.parametrize(
    "shift, box, valid, ignored",
    [
        (0, [0, 2, 8, 6], True, False),
        (-6, [0, 2, 2, 6], True, False),  # A quarter is left.
        (-7, [0, 2, 1, 6], False, True),
        (-8, [0, 0, 0, 0], False, False),
        (-20, [0, 0, 0, 0], False, False),
        (9, [9, 2, 12, 6], True, False),
        (30, [0, 0, 0, 0], False, False),
    ],
)
def test_what_little_is_left_does_not_count(shift, box, valid, ignored):
    moved = transforms.follow(one_box([0, 2, 8, 6]), shifted(shift), (10, 12))
    np.testing.assert_array_equal(moved["boxes_xyxy"], [box, [0] * 4])
    assert moved["valid"].tolist() == [valid, False]
    assert moved["ignored"].tolist() == [ignored, False]
    there = valid or ignored
    assert moved["labels"].tolist() == [int(there), 0]
    assert moved["photo_areas"].tolist() == [9 * there, 0]


def test_an_object_without_a_pixel_is_gone():
    """The box is in the image, but of its mask only what has left."""
    mask = np.zeros((2, 10, 12), bool)
    mask[0, 2:6, 0] = True
    flip = transforms.Move(lambda image, _: image[:, ::-1], shifted(0).matrix)
    objects = one_box([0, 2, 8, 6], masks=mask)
    assert transforms.follow(objects, flip, (10, 12))["valid"][0]
    cut = transforms.Move(lambda image, _: 0 * image, shifted(-4).matrix)
    moved = transforms.follow(objects, cut, (10, 12))
    assert not any(value.any() for value in moved.values())


def test_a_whole_object_keeps_a_pixel():
    """Or those who are evaluated by masks would have fewer objects to find."""
    mask = np.zeros((2, 640, 640), bool)
    mask[0, 201:207, 401:407] = True
    objects = one_box([401, 201, 407, 207], masks=mask)
    image = np.zeros((640, 640, 3), np.uint8)
    _, moved = transforms.fit(image, objects, 64)
    assert moved["valid"].tolist() == [True, False]
    assert np.argwhere(moved["masks"]).tolist() == [[0, 20, 40]]


def test_ignored_objects_stay_ignored():
    objects = one_box([0, 2, 8, 6])
    objects |= {"valid": objects["ignored"], "ignored": objects["valid"]}
    moved = transforms.follow(objects, shifted(-2), (10, 12))
    assert moved["ignored"].tolist() == [True, False] and not moved["valid"].any()


def test_a_flip_is_exact():
    move = None
    for seed in range(10):
        move = data.RandomFlip().draw(10, 12, np.random.default_rng(seed))
        if move.matrix[0, 0] < 0:
            break
    moved = transforms.follow(one_box([1, 2, 8, 6.5]), move, (10, 12))
    np.testing.assert_array_equal(moved["boxes_xyxy"][0], [4, 2, 11, 6.5])


def test_composed_changes_and_colours():
    example = source()[0]
    change = data.Compose([data.ColourJitter(0.1, 0.0, 0.0), data.RandomFlip()])
    for seed in range(6):
        rng = np.random.default_rng(seed)
        image, label = change.joint(example["image"], example["label"], rng)
        assert_boxes_are_around(image > 100, label, 0)


@pytest.mark.parametrize("change", [data.RandAugment(), data.RandomErasing()])
def test_what_cannot_move_boxes_says_so(change):
    stream = data.train_batches(
        source(), batch_size=2, image_size=32, seed=0, augment_bytes=change
    )
    with pytest.raises(TypeError, match=r"Rand.*changes images only.*objects.*`joint"):
        next(stream)


def batches(source, count, **options):
    options = {"batch_size": 2, "image_size": 64, "seed": 3} | options
    stream = data.train_batches(source, **options)
    return [next(stream) for _ in range(count)]


def test_batches_have_whole_images():
    (batch,) = batches(source(), 1, image_size=112)
    assert batch["image"].shape == (2, 112, 112, 3)
    assert batch["image"].dtype == np.float32
    label = batch["label"]
    shapes = {
        "boxes_xyxy": ((2, 5, 4), np.float32),
        "labels": ((2, 5), np.int32),
        "valid": ((2, 5), np.bool_),
        "ignored": ((2, 5), np.bool_),
        "photo_areas": ((2, 5), np.float32),
        "masks": ((2, 5, 112, 112), np.bool_),
        "sizes": ((2, 2), np.int32),
        "photo_sizes": ((2, 2), np.int32),
    }
    assert {k: (v.shape, v.dtype) for k, v in label.items()} == shapes
    np.testing.assert_array_equal(label["sizes"], [[96, 112]] * 2)
    np.testing.assert_array_equal(label["photo_sizes"], [[48, 56]] * 2)
    np.testing.assert_array_equal(label["boxes_xyxy"][0, 1], [48, 16, 96, 44])
    assert label["photo_areas"][0, 1] == 24 * 14
    assert not batch["image"][:, 96:].any()
    for i in range(2):
        rows = {key: value[i] for key, value in label.items()}
        assert_boxes_are_around(batch["image"][i], rows, 1)


def test_squares_of_the_right_size_come_through_unchanged():
    squares = source(height=56, width=56)
    (batch,) = data.eval_batches(squares, batch_size=4, image_size=56)
    for i in range(4):
        stored = squares[i]
        expected = transforms.normalise(stored["image"])
        np.testing.assert_array_equal(batch["image"][i], expected)
        for key, value in stored["label"].items():
            np.testing.assert_array_equal(batch["label"][key][i], value)


def test_the_longer_side_fits_whichever_it_is():
    for height, width, size in [(30, 7, (20, 5)), (7, 30, (5, 20)), (400, 1, (20, 1))]:
        image = np.full((height, width, 3), 255, np.uint8)
        objects = one_box([0, 0, width, height])
        fitted, label = transforms.fit(image, objects, 20)
        assert fitted.shape == (*size, 3)
        np.testing.assert_allclose(label["boxes_xyxy"][0], [0, 0, *size[::-1]])
        assert label["valid"][0]


def test_streams_are_a_function_of_seed_and_position():
    options = {
        "augment_bytes": data.Compose([data.RandomFlip(), data.RandomCrop(4)]),
        "augment": data.RandomAffine(),
    }
    whole = batches(source(6), 4, **options)
    again = batches(source(6), 2, start_step=2, **options)
    parts = [
        batches(source(6), 4, process_index=i, process_count=2, **options)
        for i in range(2)
    ]
    for step, batch in enumerate(whole):
        for key, value in batch["label"].items():
            split = np.concatenate([part[step]["label"][key] for part in parts])
            np.testing.assert_array_equal(split, value)
            if step >= 2:
                np.testing.assert_array_equal(again[step - 2]["label"][key], value)
    seen = np.concatenate([batch["label"]["boxes_xyxy"] for batch in whole])
    assert len(np.unique(seen[:, 0], axis=0)) > 6


def test_a_normalised_image_must_not_grow():
    class Grow(data.ColourJitter):
        def joint(self, image, label, rng):
            return np.pad(image, ((0, 20), (0, 0), (0, 0))), label

    with pytest.raises(ValueError, match="75 x 64 pixels has no place in 64 x 64"):
        batches(source(), 1, augment=Grow())


def test_evaluation_has_every_image_once_and_blanks():
    (first, second) = data.eval_batches(source(6), batch_size=4, image_size=56)
    assert first["mask"].all() and second["mask"].tolist() == [True] * 2 + [False] * 2
    for value in (second["image"], *second["label"].values()):
        assert value[:2].any() and not value[2:].any()
    left = np.concatenate([b["label"]["boxes_xyxy"] for b in (first, second)])[:6, 2, 0]
    np.testing.assert_array_equal(left, 10 + np.arange(6))


def test_images_with_boxes_are_not_cropped():
    with pytest.raises(ValueError, match="as a whole, not crop="):
        data.eval_batches(source(), batch_size=2, image_size=32, crop=0.5)


def test_scenes_in_batches(scenes_dir):
    scenes = data.load_detection("scenes", "train", scenes_dir, masks=True)
    (batch,) = batches(scenes, 1, batch_size=4, image_size=96)
    label = batch["label"]
    assert label["masks"].shape[2:] == (96, 96) and label["valid"].any(1).all()
    for box, mask in zip(
        label["boxes_xyxy"][label["valid"]], label["masks"][label["valid"]], strict=True
    ):
        rows, columns = mask.nonzero()
        around = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        np.testing.assert_allclose(box, around, atol=1.0)
    plain = dataclasses.replace(scenes, masks=False)
    assert "masks" not in batches(plain, 1)[0]["label"]
