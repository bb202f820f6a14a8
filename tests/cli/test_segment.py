"""`python -m cnnjax segment`, as a user types it."""

import jax
import numpy as np
import pytest
import skimage.data
import sklearn.datasets
from commands import run
from PIL import Image

import cnnjax
from cnnjax import weights
from cnnjax.cli.segment import VOC


@pytest.fixture
def segmenter(tmp_path):
    """Writes a run's folder with a U-Net; returns it, the network, its variables."""

    def save(name="unet_padded", channels=3, class_names=None, **options):
        model = cnnjax.create(name, **options)
        images = np.zeros((1, *[model.image_size] * 2, channels), np.float32)
        variables = jax.jit(model.init)(jax.random.key(0), images)
        half = weights.Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
        folder = tmp_path / "run"
        weights.save(
            folder / "model.safetensors",
            name,
            variables,
            preprocessing=half,
            class_names=class_names,
            **options,
        )
        return folder, model, variables

    return save


TINY = {"features": 4, "depth": 1, "num_classes": 3}
VALID = {"name": "unet", **TINY, "image_size": 20}


def segmented(shown):
    """Returns the printed shares of pixels by class."""
    rows = [row.split("│") for row in shown.splitlines()]
    rows = [(r[2].strip(), r[3].strip()) for r in rows if len(r) == 5]
    return {name: float(share.removesuffix("%")) for name, share in rows}


def test_segment_a_photograph_of_any_size(monkeypatch, capsys, tmp_path, segmenter):
    names = ["sky", "house", "tree"]
    folder, model, variables = segmenter(**TINY, class_names=names)
    photo, out = tmp_path / "photo.png", tmp_path / "new" / "answer.png"
    pixels = sklearn.datasets.load_sample_image("china.jpg")[100:131, 200:245]
    upright = Image.fromarray(pixels)
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # To be turned by 90 degrees, clockwise.
    turned.save(photo, exif=exif)
    assert run(monkeypatch, "segment", photo, "--weights", folder, "--out", out) == 0

    padded = np.pad(pixels, ((0, 1), (0, 1), (0, 0)), "reflect")
    images = (padded[None].astype(np.float32) / 255 - 0.5) / 0.5
    logits, _ = jax.jit(model.apply)(variables, images)
    labels = np.asarray(logits)[0, :31, :45].argmax(-1)
    counts = np.bincount(labels.ravel(), minlength=3)
    assert (counts > 0).sum() > 1  # Or the test says little.
    shares = segmented(capsys.readouterr().out)
    assert shares == {
        names[i]: round(100 * counts[i] / labels.size, 1)
        for i in np.argsort(-counts)
        if counts[i]
    }
    with Image.open(out) as picture:
        painted = np.asarray(picture)
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]])[labels]
    mixed = (pixels / 2 + colours / 2).astype(np.uint8)
    np.testing.assert_array_equal(painted, mixed)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (VALID, ()),
        ({**VALID, "channels": 1}, ("--tile", 28)),
        (TINY, ("--tile", 16)),
        ({**TINY, "num_classes": 21}, ()),
    ],
    ids=["valid", "grey, valid, in larger tiles", "in tiles", "without names"],
)
def test_segment_with_any_network(
    monkeypatch, capsys, tmp_path, segmenter, options, arguments
):
    folder, *_ = segmenter(**options)
    photo = tmp_path / "photo.png"
    Image.fromarray(skimage.data.coffee()[:33, :21]).save(photo)
    monkeypatch.chdir(tmp_path)
    file = folder / "model.safetensors"
    assert run(monkeypatch, "segment", photo, "--weights", file, *arguments) == 0
    shares = segmented(capsys.readouterr().out)
    names = VOC if options["num_classes"] == 21 else {"class 0", "class 1", "class 2"}
    assert shares and shares.keys() <= {*names}
    assert abs(sum(shares.values()) - 100) < 1
    with Image.open("segmented.png") as picture:
        assert picture.size == (21, 33)


def test_networks_that_answer_something_else(
    monkeypatch, capsys, tmp_path, photos, saved, segmenter
):
    assert run(monkeypatch, "segment", photos["cat"], "--weights", saved[0]) == 2
    assert "ResNet says what whole photographs show" in capsys.readouterr().err
    folder, *_ = segmenter(**TINY)
    assert run(monkeypatch, "predict", photos["cat"], "--weights", folder) == 2
    assert "UNet says what pixels show: use `segment`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["nothing.jpg"], TINY, "there is no file nothing.jpg"),
        ([__file__], TINY, "cannot be read as a picture"),
        (["cat", "--tile", "0"], TINY, "--tile has to be at least 1"),
        (["cat", "--tile", "9"], TINY, "of 9x9 pixels; near these are 8 or 10 rows"),
        (["cat", "--tile", "8"], VALID, "a margin of 8 leaves less than a stride"),
        (["cat"], {**TINY, "channels": 5}, "is for images of 5 channels"),
        (["cat", "--weights", "."], TINY, "there is no file model.safetensors"),
        (["cat", "--weights", "no.pth", "--model", "unett"], TINY, "did you mean"),
    ],
)
def test_segment_says_what_is_wrong(
    monkeypatch, capsys, tmp_path, photos, segmenter, arguments, options, message
):
    folder, *_ = segmenter(**options)
    monkeypatch.chdir(photos["cat"].parent)
    arguments = [photos.get(argument, argument) for argument in arguments]
    assert run(monkeypatch, "segment", "--weights", folder, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "segmented.png").exists()
