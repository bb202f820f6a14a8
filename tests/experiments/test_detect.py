"""A detector is trained, and refuses what it must."""

import dataclasses
import json

import compare_detection
import detect
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import cost, detection, errors, metrics, train, weights


def smoke(run_dir, **options):
    return dataclasses.replace(detect.PRESETS["smoke"], run_dir=run_dir, **options)


def macs(name, *objects):
    """Returns what one image costs."""
    model = cnnjax.create(name, num_classes=11)
    return cost.analyze(model, (1, 64, 64, 3), *objects).macs


@pytest.mark.usefixtures("unchecked_shapes")
def test_detect(scenes_dir, tmp_path):
    run_dir = tmp_path / "run"
    results = detect.main(smoke(run_dir, data_dir=scenes_dir))
    assert 0 <= results["test_map50"] <= 1
    assert results["test_ap50"] and {*results["test_ap50"]} <= {*"0123456789"}
    assert {"ap", "ap50", "ar100"} < results["test_coco"].keys()
    written = json.loads((run_dir / "results.json").read_text())
    assert written["test_map50"] == results["test_map50"]
    assert written["macs"] == macs("retinanet_resnet18_fpn_small")
    assert "map50" in train.read_metrics(run_dir)[-1]
    for name in ("curves", "precision_recall", "detections", "anchors"):
        with Image.open(run_dir / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(10**6)) > 5
    path = run_dir / "model.safetensors"
    model, _ = weights.restore(path)
    assert (model.features, model.num_classes) == (64, 11)
    assert weights.class_names(path) == ["background", *"0123456789"]


def test_what_is_learnt_costs_less_than_masks_of_all_detections():
    name = "maskrcnn_resnet18_fpn_small"
    assert 5 * macs(name, detect.an_object(smoke(None), masks=True)) < macs(name)


def test_anchors_are_drawn_in_parts_of_the_image():
    found = detect.anchors_of(smoke(None), 11, 64)
    assert [*found] == [f"anchors of map {k}" for k in range(3)]
    for size, boxes in zip((16, 32, 64), found.values(), strict=True):
        assert boxes.shape == (9, 4)
        np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]) / 2, 0.5)
        area = (boxes[0, 2:] - boxes[0, :2]).prod() * 64**2
        assert area == pytest.approx(size**2, rel=0.1)


def test_masks_are_collected_in_their_places():
    """Those of boxes of 8 x 4 and 4 x 8 pixels, half of which are the objects'."""
    boxes = np.float32([[[2, 2, 10, 6], [8, 8, 12, 16]]])
    small = np.zeros((1, 2, 28, 28), np.float32)
    small[:, :, :14] = 0.9
    there = np.zeros((1, 2, 16, 16), bool)
    there[0, 0, 2:4, 2:10] = there[0, 1, 8:12, 8:12] = True
    ones = np.ones((1, 2), int)
    found = detection.Detections(boxes, ones * 0.9, ones, ones == 1, small)
    label = {"boxes_xyxy": boxes, "labels": ones, "valid": ones == 1, "masks": there}
    collected = detect.Collected(2)
    outputs = {"detections": found, "label": label, "mask": np.ones(1, bool)}
    collected.add(outputs)
    _, results = collected.finish(1)
    assert metrics.coco_average_precision(results, 2, masks=True).ap == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet20_cifar"}, "finds no objects"),
        ({"loss": "focul"}, "focal"),
        ({"loss": "cross_entropy", "model": "ssd300_vgg16"}, "--loss means nothing"),
        ({"mixup": 0.2}, "--mixup is for classes"),
        ({"eval_crop": 0.9}, "as a whole"),
        ({"deformable_blocks": -1}, "must not be negative"),
        ({"deformable_blocks": 1, "model": "ssd300_vgg16"}, "means nothing to"),
        ({"model": "ssd300_vgg16"}, "--image-size 64: of 64 x 64 pixels nothing"),
        ({"leave_out": True}, "--leave-out needs --max-objects"),
        ({"max_objects": 2}, r"more than 2 objects .*: raise max_objects"),
        ({"dataset": "digits"}, "is not object detection"),
        ({"dataset": "./nowhere"}, "nowhere"),
    ],
)
def test_bad_input_is_one_sentence(scenes_dir, tmp_path, options, message):
    with pytest.raises(errors.UserError, match=message):
        detect.main(smoke(tmp_path / "run", data_dir=scenes_dir, **options))
    assert not (tmp_path / "run").exists()


def test_objects_that_are_left_out_are_counted(scenes_dir, tmp_path, capsys):
    options = {"max_objects": 2, "leave_out": True}
    sources = detect.load(smoke(tmp_path, data_dir=scenes_dir, **options))
    said = capsys.readouterr().out
    for source in sources:
        objects, images = source.left_out
        assert objects >= images > 0
        assert f"{source.name}: {objects} objects of {images} images are left" in said


def test_splits_have_the_same_classes(tmp_path):
    names = {"train": ["cat", "dog"], "validation": ["dog", "cat", "ox"]}
    for split, classes in names.items():
        categories = [{"id": k, "name": name} for k, name in enumerate(classes, 1)]
        image = {"id": 1, "file_name": "1.png", "width": 9, "height": 9}
        content = {"images": [image], "categories": categories, "annotations": []}
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    Image.new("L", (9, 9)).save(tmp_path / "1.png")
    config = smoke(
        tmp_path / "run",
        dataset=str(tmp_path),
        train_split="train",
        validation_split="validation",
        test_split="train",
    )
    wrong = "train and .*validation have other classes: 1: cat / dog, 2: dog / cat, 3: "
    with pytest.raises(errors.UserError, match=wrong):
        detect.load(config)


@pytest.mark.slow
def test_compare_detection(scenes_dir, capsys):
    config = compare_detection.PRESETS["smoke"]
    config = dataclasses.replace(config, data_dir=scenes_dir)
    (values,) = compare_detection.main(config).values()
    assert len(values) == 1 and 0 <= values[0] <= 1
    assert "cross-entropy" in capsys.readouterr().out
