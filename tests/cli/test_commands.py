"""`python -m cnnjax`: the commands, as a user types them."""

import importlib.util
import json
import subprocess
import sys

import flax.traverse_util
import jax
import numpy as np
import pytest
from commands import run
from PIL import Image

import cnnjax
from cnnjax import weights


def test_help():
    command = [sys.executable, "-m", "cnnjax", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "models" in shown and "predict" in shown


def test_models(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "models", "resne*50*") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["resnet50", "25,557,032", "4,089", "M", "224", "1"] in lines
    papers = [line for line in lines if line[1:3] in (["He", "et"], ["Xie", "et"])]
    assert papers == [
        ["1", "He", "et", "al.,", "2015:", "https://arxiv.org/abs/1512.03385"],
        ["2", "Xie", "et", "al.,", "2016:", "https://arxiv.org/abs/1611.05431"],
    ]


def test_models_have_their_whole_names(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "models") == 0
    assert {*cnnjax.list_models()} <= {*capsys.readouterr().out.split()}


def test_models_of_no_such_name(monkeypatch, capsys):
    assert run(monkeypatch, "models", "resnet5") == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    "model",
    [
        "efficientnet_lite0",
        pytest.param("efficientnet_lite1", marks=pytest.mark.slow),
        pytest.param("efficientnet_lite2", marks=pytest.mark.slow),
    ],
)
def test_predict_real_photographs(monkeypatch, capsys, photos, tmp_path, model):
    figure = tmp_path / "figures" / "answers.png"
    arguments = ("--model", model, "--top", 2, "--save", figure)
    assert run(monkeypatch, "predict", *photos.values(), *arguments) == 0
    rows = [row.split("│") for row in capsys.readouterr().out.splitlines()]
    answers = [(r[1].strip(), r[2].strip(), r[3].strip()) for r in rows if len(r) == 5]
    photo, labels, shares = zip(*answers, strict=True)
    assert photo == tuple(f"{name}.png" for name in photos for _ in range(2))
    assert labels[0] == "palace"
    assert labels[2] == "espresso"
    assert {labels[4], labels[5]} < set(weights.imagenet_class_names()[281:286])
    numbers = [float(share.removesuffix("%")) for share in shares]
    for first, second in zip(numbers[::2], numbers[1::2], strict=True):
        assert 0 < second <= first <= 100
    with Image.open(figure) as picture:
        assert len(picture.getcolors(10**7)) > 1000


def test_predict_with_a_saved_model(monkeypatch, capsys, photos, tmp_path):
    model = cnnjax.create("resnet20_cifar", num_classes=3)
    shapes = weights.shapes_of(model)
    kept = {p: np.full(a.shape, 0.01, np.float32) for p, a in shapes.items()}
    variables = flax.traverse_util.unflatten_dict(kept, sep="/")
    path = tmp_path / "model.safetensors"
    weights.save(path, "resnet20_cifar", variables, num_classes=3)
    assert run(monkeypatch, "predict", photos["cat"], "--weights", path) == 0
    shown = capsys.readouterr().out
    assert shown.count("33.3%") == 3
    assert "class 2" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jpg"], "there is no file nothing.jpg"),
        ([__file__], "cannot be read as a picture"),
        ([], "name at least one photograph"),
        (["cat", "--model", "resnet5"], "did you mean"),
        (["cat", "--model", "resnet50"], "no package has weights of resnet50"),
        (["cat", "--weights", "./no.pth"], "there is no file no.pth"),
        (["cat", "--top", "0"], "--top has to be at least 1"),
    ],
)
def test_predict_says_what_is_wrong(monkeypatch, capsys, photos, arguments, message):
    arguments = [photos.get(argument, argument) for argument in arguments]
    assert run(monkeypatch, "predict", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


def test_cost_of_models(monkeypatch, capsys):
    arguments = ("resnet20_cifar", "wrn_16_8_cifar", "--batch", 2)
    assert run(monkeypatch, "cost", *arguments) == 0
    shown = capsys.readouterr().out
    assert "272,474" in shown and f"{2 * 40_813_184:,}" in shown
    assert "wrn_16_8_cifar" in shown and "time on" not in shown
    assert run(monkeypatch, "cost", "resnet20_cifar", "--device", "h200") == 0
    assert "time on h200" in " ".join(capsys.readouterr().out.split())


def test_cost_per_stage_on_a_device_in_half_precision(monkeypatch, capsys):
    arguments = ("--per", "stage", "--device", "h100", "--dtype", "bfloat16")
    assert run(monkeypatch, "cost", "resnet20_cifar", *arguments) == 0
    shown = capsys.readouterr().out
    assert "stage3" in shown and "stage3_block1" not in shown
    assert "resnet20_cifar on h100" in shown and "memory" in shown
    # Images and what the stem writes have half of the bytes.
    assert f"{2 * 32 * 32 * 16 / 1000:.1f} kB" in shown


def test_cost_as_json(monkeypatch, capsys):
    arguments = ("--json", "--per", "layer", "--device", "tpu_v5e", "--image-size", 64)
    assert run(monkeypatch, "cost", "resnet20_cifar", *arguments) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["macs"] > 4 * 40_800_000
    assert sum(row["macs"] for row in report["rows"]) == report["macs"]
    assert len(report["roofline"]["rows"]) == len(report["rows"])
    assert run(monkeypatch, "cost", "resnet20_cifar", "--json") == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["macs"] == 40_813_184 and "rows" not in report


def test_cost_draws_pictures(monkeypatch, capsys, tmp_path):
    arguments = ("--device", "a100", "--pictures", tmp_path / "new")
    assert run(monkeypatch, "cost", "resnet20_cifar", "resnet32_cifar", *arguments) == 0
    drawn = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert drawn == [
        "models.png",
        *("resnet20_cifar_roofline.png", "resnet20_cifar_stages.png"),
        *("resnet32_cifar_roofline.png", "resnet32_cifar_stages.png"),
    ]
    assert capsys.readouterr().out.count("wrote ") == len(drawn)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "name at least one model"),
        (("resnet5",), "did you mean"),
        (("resnet20_cifar", "--device", "h300"), "did you mean h200"),
        (("resnet20_cifar", "--batch", 0), "at least 1"),
        (("alexnet", "--image-size", 8), "pass a shape"),
    ],
)
def test_cost_of_what_makes_no_sense(monkeypatch, capsys, arguments, message):
    assert run(monkeypatch, "cost", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_export(monkeypatch, capsys, tmp_path, saved):
    path, model, variables = saved
    out = tmp_path / "new" / "model.jax"
    arguments = ("--weights", path, "--out", out, "--image-size", 8)
    assert run(monkeypatch, "export", "resnet20_cifar", *arguments) == 0
    assert f"wrote {out}" in " ".join(capsys.readouterr().out.split())
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    found = cnnjax.inference.load(out)(images)
    expected, _ = jax.jit(model.apply)(variables, images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_export_of_random_weights_for_a_batch(monkeypatch, tmp_path):
    out = tmp_path / "model.jax"
    arguments = ("--weights", "random", "--image-size", 8, "--batch-size", 2)
    assert run(monkeypatch, "export", "resnet20_cifar", "--out", out, *arguments) == 0
    assert cnnjax.inference.load(out).images_shape == (2, 8, 8, 3)


def test_export_to_onnx(monkeypatch, capsys, tmp_path, saved):
    out = tmp_path / "model.onnx"
    arguments = ("--weights", saved[0], "--out", out, "--image-size", 8)
    arguments = ("resnet20_cifar", *arguments, "--format", "onnx")
    if importlib.util.find_spec("jax2onnx") is None:
        assert run(monkeypatch, "export", *arguments) == 2
        assert "cnnjax[onnx]" in capsys.readouterr().err
        assert not out.exists()
    else:
        assert run(monkeypatch, "export", *arguments) == 0
        assert out.stat().st_size > 1_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet5", "--weights", "random"), "did you mean"),
        (("resnet20_cifar", "--format", "onyx"), "unknown format 'onyx'; did you mean"),
        (("resnet20_cifar",), "no package has weights of resnet20_cifar"),
        (("resnet20_cifar", "--weights", "no.pth"), "there is no file no.pth"),
        (("resnet32_cifar", "--weights", "saved"), "is a saved resnet20_cifar, not a"),
        (("resnet20_cifar", "--image-size", 0), "at least 1"),
        (("resnet20_cifar", "--batch-size", -1), "at least 1"),
    ],
)
def test_export_says_what_is_wrong(
    monkeypatch, capsys, tmp_path, saved, arguments, message
):
    out = tmp_path / "model.jax"
    arguments = [saved[0] if a == "saved" else a for a in arguments]
    assert run(monkeypatch, "export", *arguments, "--out", out) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert [*tmp_path.iterdir()] == [saved[0]]
