"""Networks of pixels and of clips are trained, and refuse what they must."""

import dataclasses
import json

import compare_segmentation
import pytest
import segment
import video
from PIL import Image

from cnnjax import errors, train, weights


def smoke(experiment, run_dir, **options):
    return dataclasses.replace(experiment.PRESETS["smoke"], run_dir=run_dir, **options)


@pytest.fixture(scope="module")
def segmented(scenes_dir, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("segment") / "run"
    config = smoke(segment, run_dir, data_dir=scenes_dir)
    return config, segment.main(config)


def test_segment(segmented):
    config, results = segmented
    assert 0 <= results["test_mean_iou"] <= 1
    assert {*results["test_iou"]} == {"background", *"0123456789"}
    written = json.loads((config.run_dir / "results.json").read_text())
    assert written["test_accuracy"] == results["test_accuracy"]
    records = train.read_metrics(config.run_dir)
    assert "mean_iou" in records[-1]
    for name in ("curves.png", "predictions.png"):
        with Image.open(config.run_dir / name) as picture:
            assert len(picture.convert("RGB").getcolors(10**6)) > 5


def test_the_file_of_a_segmentation_run_holds_its_network(segmented):
    config, _ = segmented
    path = config.run_dir / "model.safetensors"
    model, _ = weights.restore(path)
    assert (model.features, model.num_classes) == (16, 11)
    assert weights.class_names(path) == ["background", *"0123456789"]


@pytest.mark.slow
def test_a_finished_run_is_only_evaluated(segmented):
    config, results = segmented
    again = segment.main(dataclasses.replace(config, resume=True))
    assert again["params_sha256"] == results["params_sha256"]
    assert again["test_mean_iou"] == results["test_mean_iou"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"model": "resnet20_cifar"}, "labels no pixels"),
        ({"model": "unet"}, "labels only the middle"),
        ({"loss": "focal+dise"}, "dice"),
        ({"mixup": 0.2}, "--mixup is for classes of images"),
        ({"deformable_blocks": -1}, "must not be negative"),
        ({"deformable_blocks": 1}, "means nothing to unet_padded_16"),
        ({"model": "unet_resnet18", "skips": False}, "--skips means nothing"),
        ({"model": "unet_vgg16_bn", "deformable_blocks": 1}, "a VGG has no deformable"),
        ({"dataset": "digits"}, "segmentation"),
    ],
)
def test_segment_refuses(scenes_dir, tmp_path, options, message):
    config = smoke(segment, tmp_path / "run", **{"data_dir": scenes_dir} | options)
    with pytest.raises(errors.UserError, match=message):
        segment.main(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    "frames",
    [
        "ordered",
        pytest.param("shuffled", marks=pytest.mark.slow),
        pytest.param("single", marks=pytest.mark.slow),
    ],
)
def test_video(scenes_dir, tmp_path, frames):
    config = smoke(video, tmp_path / "run", data_dir=scenes_dir, frames=frames)
    results = video.main(config)
    assert 0 <= results["test_accuracy"] <= 1
    assert ("shuffled_accuracy" in results) == (frames == "ordered")
    with Image.open(tmp_path / "run" / "confusion.png") as picture:
        assert len(picture.convert("RGB").getcolors(10**6)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["late", "slow"])
def test_other_fusions(scenes_dir, tmp_path, fusion):
    config = smoke(video, tmp_path / "run", data_dir=scenes_dir, fusion=fusion)
    assert 0 <= video.main(config)["test_accuracy"] <= 1


def test_video_refuses_networks_of_pixels(scenes_dir, tmp_path):
    config = smoke(video, tmp_path / "run", data_dir=scenes_dir, model="unet_padded_16")
    with pytest.raises(errors.UserError, match="no classifier of images"):
        video.main(config)


def test_rearranged_clips(scenes_dir):
    source = video.data.load_clips("scenes/clips", "test", scenes_dir)
    clip = source[1]["image"]
    shuffled = video.rearranged(source, "shuffled")[1]["image"]
    assert sorted(f.tobytes() for f in clip) == sorted(f.tobytes() for f in shuffled)
    assert (clip != shuffled).any()
    (middle,) = video.rearranged(source, "single")[1]["image"]
    assert (middle == clip[len(clip) // 2]).all()


@pytest.mark.slow
def test_compare_segmentation(scenes_dir, capsys):
    config = compare_segmentation.PRESETS["smoke"]
    config = dataclasses.replace(config, data_dir=scenes_dir)
    (values,) = compare_segmentation.main(config).values()
    assert 0 <= values[0] <= 1
    assert "without skips" in capsys.readouterr().out
    config = dataclasses.replace(config, cases=("dense, dise",))
    with pytest.raises(errors.UserError, match="dense, dice"):
        compare_segmentation.main(config)
