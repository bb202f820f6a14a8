"""Folders of images in COCO's format: what is read, and what is refused."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from cnnjax import data, errors


CATEGORIES = [{"id": 1, "name": "person"}, {"id": 4, "name": "cat"}]


def annotation(number=7, image_id=1, **changes):
    row = {"id": number, "image_id": image_id, "category_id": 4}
    return row | {"bbox": [2, 1.5, 10, 4]} | changes


def write(folder, name="annotations.json", place="", **changes):
    """Writes two images and three objects."""
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 20, "height": 10}
            for i in (1, 5)
        ],
        "categories": CATEGORIES,
        "annotations": [
            annotation(segmentation=[[2, 1, 12, 1, 12, 5, 2, 5]], area=33.5),
            annotation(
                8,
                iscrowd=1,
                category_id=1,
                bbox=[0, 0, 20, 10],
                segmentation={"counts": [5, 15, 180], "size": [10, 20]},
            ),
        ],
    } | changes
    (folder / place).mkdir(parents=True, exist_ok=True)
    for i in (1, 5):
        Image.new("L", (20, 10), 40 * i).save(folder / place / f"{i}.png")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "name, place, split",
    [
        ("annotations.json", "", "annotations"),
        ("annotations.json", "images", "annotations"),
        ("annotations/instances_val2017.json", "val2017", "instances_val2017"),
        ("annotations/instances_val2017.json", "images/val2017", "instances_val2017"),
        ("annotations/my-set.json", "images", "my-set[:100%]"),
        ("_annotations.coco.json", "", "_annotations.coco[:100%]"),
    ],
)
def test_a_folder(tmp_path, name, place, split):
    write(tmp_path, name, place)
    source = data.load_detection(str(tmp_path), split, masks=True)
    assert source.class_names == ["background", "person", "N/A", "N/A", "cat"]
    assert len(source) == 2 and source.max_objects == 2
    example = source[0]
    assert example["image"].shape == (10, 20, 3) and (example["image"] == 40).all()
    label = example["label"]
    np.testing.assert_array_equal(
        label["boxes_xyxy"], [[2, 1.5, 12, 5.5], [0, 0, 20, 10]]
    )
    assert label["labels"].tolist() == [4, 1]
    assert label["valid"].tolist() == [True, False]
    assert label["ignored"].tolist() == [False, True]
    assert label["photo_areas"].tolist() == [33.5, 200]
    expected = np.zeros((2, 10, 20), bool)
    expected[0, 1:5, 2:12] = True
    expected[1, 5:, 0] = expected[1, :, 1] = True
    np.testing.assert_array_equal(label["masks"], expected)
    assert not source[1]["label"]["valid"].any() and (source[1]["image"] == 200).all()
    batches = [*data.eval_batches(source, batch_size=2, image_size=20)]
    assert batches[0]["label"]["masks"].shape == (2, 2, 20, 20)


def test_parts_of_a_folder(tmp_path):
    write(tmp_path, annotations=[annotation(i) for i in range(3)])
    load = data.load_coco_folder
    first = load(tmp_path, "annotations[:50%]")
    second = load(tmp_path, "annotations[1:]")
    assert len(first) == len(second) == 1
    assert (first.max_objects, second.max_objects) == (3, 1)
    assert (second[0]["image"] == 200).all()
    for split in ("annotations[", "annotations[a:]", "annotations[:1]+annotations[1:]"):
        with pytest.raises(errors.UserError, match=r"no part|did you mean annotations"):
            load(tmp_path, split)
    with pytest.raises(errors.UserError, match=r"unknown split of .*'train'; there "):
        load(tmp_path, "train")
    with pytest.raises(errors.UserError, match=r"1 of 2 images .* more than 2 objects"):
        load(tmp_path, "annotations", max_objects=2)
    few = load(tmp_path, "annotations", max_objects=2, leave_out=True)
    assert few.left_out == (1, 1) and few[0]["label"]["valid"].tolist() == [True, True]


def test_a_folder_is_called_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "photos")
    assert len(data.load_detection("./photos", "annotations")) == 2
    with pytest.raises(errors.UserError, match=r"the folder is called './photos'"):
        data.load_detection("photos", "annotations")
    with pytest.raises(errors.UserError, match="has no annotations: no JSON file"):
        data.load_detection("./nowhere", "annotations")


def images(**changes):
    row = {"id": 1, "file_name": "1.png", "width": 20, "height": 10}
    return {"images": [row | changes, {**row, "id": 5}]}


def objects(**changes):
    return {"annotations": [annotation(**changes)]}


FEW = ", ".join(map(str, range(100, 110)))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"images": None}, "it needs 'images', a list of objects with an 'id'"),
        ({"categories": {}}, "it needs 'categories'"),
        ({"annotations": [3]}, "it needs 'annotations'"),
        ({"annotations": [{"id": "3"}]}, "it needs 'annotations'"),
        (images(id=5), "images have ids more than once: 5"),
        ({"categories": CATEGORIES * 2}, "categories have ids more than once: 1, 4"),
        ({"annotations": [annotation(7)] * 3}, "annotations .* more than once: 7"),
        ({"categories": [{"id": 0, "name": "x"}]}, "categories have ids 0; .*backgr"),
        ({"categories": [{"id": 10**9, "name": "x"}]}, "1000000000; they must be 1 to"),
        ({"categories": [{"id": 1}]}, "categories 1 have no name"),
        ({"categories": []}, "it has no categories"),
        (
            {"categories": [{"id": i, "name": "cat"} for i in (1, 4)]},
            "categories have names more than once: 'cat'",
        ),
        (images(file_name=3), "images 1 need a 'file_name'"),
        (images(width=0), "images 1 need"),
        (images(height="10"), "images 1 need"),
        (images(file_name="2.png"), "images are missing: '2.png'"),
        (images(file_name="x" * 5000), "images are missing: 'xxx"),
        (images(file_name=""), "images are not in the folder: ''"),
        (images(file_name="../1.png"), "images are not in the folder: '../1.png'"),
        (images(file_name="a/../1.png"), "images are not in the folder"),
        (images(file_name="/etc/passwd"), "not in the folder: '/etc/passwd'"),
        (images(file_name="..\\1.png"), "images are not in the folder"),
        (images(file_name="C:\\1.png"), "images are not in the folder"),
        (images(file_name="1\0.png"), "images are not in the folder"),
        (objects(image_id=2), "annotations 7 have an 'image_id' that no image has"),
        (objects(image_id=[1]), "annotations 7 have an 'image_id'"),
        (objects(category_id=2), "annotations 7 have a 'category_id' that no categ"),
        (objects(category_id=99), "annotations 7 have a 'category_id'"),
        (objects(category_id=None), "annotations 7 have a 'category_id'"),
        (objects(bbox=None), "annotations 7 need a 'bbox' of four numbers"),
        (objects(bbox=[1, 2, 3]), "annotations 7 need a 'bbox'"),
        (objects(bbox=[1, 2, 3, "4"]), "annotations 7 need a 'bbox'"),
        (objects(bbox=[1, 2, -3, 4]), "annotations 7 need a 'bbox'"),
        (objects(bbox=[1, 2, float("nan"), 4]), "annotations 7 need a 'bbox'"),
        (objects(bbox=[1, 2, 10**400, 4]), "annotations 7 need a 'bbox'"),
        (objects(bbox=[12, 2, 9.5, 4]), "annotations 7 have a 'bbox' outside of"),
        (objects(iscrowd=2), "annotations 7 have an 'iscrowd'"),
        (objects(area=-1), "annotations 7 have an 'area'"),
        (objects(area="9"), "annotations 7 have an 'area' that is none"),
        (
            {"annotations": [annotation(i, image_id=9) for i in range(100, 117)]},
            f"annotations {FEW} and 7 more have an 'image_id'",
        ),
    ],
)
def test_a_wrong_file_is_named(tmp_path, changes, message):
    write(tmp_path, **changes)
    with pytest.raises(errors.UserError, match=f"annotations.json: .*{message}"):
        data.load_coco_folder(tmp_path, "annotations")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", '{"images": 1e999}'])
def test_what_is_no_json_is_named(tmp_path, text):
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(errors.UserError, match=r"annotations.json(: it| cannot be re)"):
        data.load_coco_folder(tmp_path, "annotations")


def test_only_what_is_missing_is_called_so(tmp_path):
    write(tmp_path, place="images")
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(errors.UserError, match=r"are missing: 'images/1.png'$"):
        data.load_coco_folder(tmp_path, "annotations")


def test_links_out_of_the_folder_are_refused(tmp_path):
    write(tmp_path / "set")
    os.replace(tmp_path / "set/1.png", tmp_path / "1.png")
    (tmp_path / "set/1.png").symlink_to(tmp_path / "1.png")
    with pytest.raises(errors.UserError, match=r"not in the folder: '1.png'"):
        data.load_coco_folder(tmp_path / "set", "annotations")


@pytest.mark.parametrize(
    "changes, message",
    [
        (images(width=21), r"\(1.png\) has 10 x 20 pixels; its .* 10 x 21"),
        (objects(), "has no mask for annotation 7 that can be read"),
        (objects(segmentation=[]), "has no mask for annotation 7"),
        (objects(segmentation=[[1, 2, 3, 4]]), "has no mask"),
        (objects(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "has no mask"),
        (objects(segmentation=[[1, 2, 3, 4, 5, 60]]), "has no mask"),
        (objects(segmentation=[[1, 2, 3, 4, 5, "6"]]), "has no mask"),
        (objects(segmentation=[[1, 2, 3, 4, 5, 10**400]]), "has no mask"),
        (objects(segmentation={"counts": [100, 101]}), "has no mask"),
        (objects(segmentation={"counts": [-1, 201]}), "has no mask"),
        (objects(segmentation={"counts": "abc"}), "has no mask"),
    ],
)
def test_what_is_found_when_an_image_is_read(tmp_path, changes, message):
    source = data.load_coco_folder(
        write(tmp_path, **changes), "annotations", masks=True
    )
    with pytest.raises(errors.UserError, match=f"^image 0 of .*{message}"):
        source[0]


def test_a_broken_image_is_named(tmp_path):
    source = data.load_coco_folder(write(tmp_path), "annotations")
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(errors.UserError, match=r"^image 0 of .* cannot be read: Unid"):
        source[0]
    assert source[1]["image"].shape == (10, 20, 3)


def test_polygons_cover_the_pixels_whose_middle_is_inside(tmp_path):
    def mask(*polygons):
        changes = objects(segmentation=[*polygons])
        source = data.load_coco_folder(
            write(tmp_path, **changes), "annotations", masks=True
        )
        return source[0]["label"]["masks"][0]

    rows, columns = np.mgrid[:10, :20] + 0.5
    # Of a triangle, an arrow that points left, and two parts.
    np.testing.assert_array_equal(
        mask([0, 0, 20, 0, 0, 10]), columns + 2 * rows < 20 - 1e-9
    )
    arrow = (columns >= 20 * abs(rows - 5) / 5) & (
        columns < 10 + 10 * abs(rows - 5) / 5
    )
    np.testing.assert_array_equal(mask([0, 5, 20, 0, 10, 5, 20, 10]), arrow)
    parts = mask([0, 0, 3, 0, 3, 3, 0, 3], [15.4, 5, 20.9, 5, 20.9, 10.9, 15.4, 10.9])
    expected = ((columns < 3) & (rows < 3)) | ((columns > 15) & (rows > 5))
    np.testing.assert_array_equal(parts, expected)
