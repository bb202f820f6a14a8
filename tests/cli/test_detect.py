"""`python -m cnnjax detect`, as a user types it."""

import functools
import json
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from commands import run
from PIL import Image

import cnnjax
from cnnjax import data, detection, registry, weights
from cnnjax.cli.detect import COCO
from cnnjax.cli.networks import load_network
from cnnjax.models import Classifier
from cnnjax.models.resnet import BasicBlock, ResNet
from cnnjax.weights import _safetensors_file


NAMES = ["background", "cat", "dog", "cup"]
RESNET = functools.partial(ResNet, depths=(1, 1, 1, 1), block=BasicBlock)


class Strided(Classifier):
    """Five convolutions of stride 2, which compile faster than any network's."""

    @nn.compact
    def __call__(self, image, *, train=False):
        layers, out = self.layers(train), {}
        for stride in (2, 4, 8, 16, 32):
            image = nn.relu(layers.norm()(layers.conv(4, 3, 2)(image)))
            out[f"stride{stride}"] = image
        return image, out


TINY = {
    "classifier": Strided,
    "num_classes": 4,
    "image_size": 64,
    "features": 8,
    "selection": detection.Selection(
        score_threshold=0.0, candidates=10, max_detections=6
    ),
    "conv_general_dilated": jax.lax.conv_general_dilated,  # It compiles faster.
}
VARIANTS = {
    "tiny": functools.partial(detection.RetinaNet, anchor_sizes=(16, 32, 64), **TINY),
    "tiny_masks": functools.partial(detection.MaskRCNN, samples=8, **TINY),
    "tiny_resnet": functools.partial(
        detection.RetinaNet, anchor_sizes=(16, 32, 64), **TINY | {"classifier": RESNET}
    ),
}
HALF = weights.Preprocessing(64, mean=(0.5,) * 3, std=(0.25,) * 3)


def noise(model):
    """Returns variables of a model at random, without compiling what makes them."""
    rng = np.random.default_rng(0)

    def one(path, x):
        if path[-1].key in ("scale", "var"):
            return np.ones(x.shape, x.dtype)
        spread = np.sqrt(2 / np.prod(x.shape[:-1])) if x.ndim == 4 else 0.1
        return rng.normal(0, spread, x.shape).astype(x.dtype)

    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    return jax.tree.map_with_path(one, shapes)


@pytest.fixture
def variants(monkeypatch, unchecked_shapes):
    for name, variant in VARIANTS.items():
        monkeypatch.setitem(registry._variants(), name, variant)


@pytest.fixture
def detector(variants, tmp_path):
    """Writes a run's folder with a detector; returns it, the network, its variables."""

    def save(name="tiny", class_names=None, **options):
        model = cnnjax.create(name, **options)
        variables = noise(model)
        folder = tmp_path / "run"
        weights.save(
            folder / "model.safetensors",
            name,
            variables,
            preprocessing=HALF,
            class_names=class_names,
            **options,
        )
        return folder, model, variables

    return save


@pytest.fixture
def photo(tmp_path):
    """A photograph, its file, and its image of 64 pixels as training would make it."""
    pixels = skimage.data.chelsea()[:, :300]
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return pixels, path


def as_learnt(pixels):
    """Returns the image as the data's pipeline makes it, and its part of the square."""
    none = {
        "boxes_xyxy": np.zeros((0, 4), np.float32),
        "photo_areas": np.zeros(0, np.float32),
        "labels": np.zeros(0, np.int32),
        "valid": np.zeros(0, bool),
        "ignored": np.zeros(0, bool),
    }
    image, objects = data.transforms.fit(pixels, none, 64)
    image = (image.astype(np.float32) / 255 - 0.5) / 0.25
    image, objects = data.transforms.fill_up(image, objects, 64)
    return jnp.asarray(image[None]), jnp.asarray(objects["sizes"][None])


def test_detects_what_the_network_does(monkeypatch, capsys, tmp_path, detector, photo):
    folder, model, variables = detector(class_names=NAMES)
    pixels, path = photo
    image, sizes = as_learnt(pixels)
    learnt = weights.with_norm_epsilon(model, variables, 0.5)
    found, _ = jax.jit(model.apply)(learnt, image, sizes=sizes)
    scores = np.asarray(found.scores[0])
    threshold = float(scores[2:4].mean())
    assert scores[2] > threshold > scores[3]  # Or the test says little.

    command = ("detect", path, "--weights", folder, "--threshold", threshold)
    command += ("--norm-epsilon", 0.5)
    out = tmp_path / "new" / "boxes.png"
    assert run(monkeypatch, *command, "--json", "--save", out) == 0
    shown = json.loads(capsys.readouterr().out)
    scale = np.array(pixels.shape[1::-1] * 2) / np.array(sizes[0])[[1, 0, 1, 0]]
    assert len(shown) == 3
    for i, row in enumerate(shown):
        assert row["label"] == NAMES[int(found.labels[0, i])]
        assert row["score"] == pytest.approx(scores[i], abs=1e-5)
        box = np.asarray(found.boxes_xyxy[0, i]) * scale
        np.testing.assert_allclose(row["box_xyxy"], box, atol=0.01)
        assert max(row["box_xyxy"][::2]) <= 300.01  # Nothing is in the padding.
    with Image.open(out) as picture:
        assert picture.width == 960

    assert run(monkeypatch, *command) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    expected = [
        [row["label"], f"{row['score']:.1%}", *(f"{x:.1f}" for x in row["box_xyxy"])]
        for row in shown
    ]
    assert [row for row in rows if len(row) == 6] == expected


def test_draws_masks_in_the_photograph(monkeypatch, capsys, tmp_path, detector, photo):
    """Of COCO's classes, which have names; the network itself would keep none."""
    selection = detection.Selection(1.0, candidates=10, max_detections=6)
    folder, *_ = detector("tiny_masks", num_classes=91, selection=selection)
    drawn = []
    monkeypatch.setattr(
        cnnjax.plots,
        "boxes",
        lambda path, images, objects, names: drawn.append(objects),
    )
    command = ("detect", photo[1], "--weights", folder, "--save", tmp_path / "x.png")
    assert run(monkeypatch, *command, "--threshold", 0) == 0
    ((objects,),) = drawn
    assert objects.masks.shape == (len(objects.labels), *photo[0].shape[:2])
    assert objects.masks.any()
    assert COCO[objects.labels[0]] in capsys.readouterr().out


def test_weights_of_others_say_how_many_classes_there_are(tmp_path, variants):
    variables = noise(cnnjax.create("tiny_resnet", num_classes=7))
    state = weights.to_torch("tiny_resnet", variables, num_classes=7)
    file = str(tmp_path / "theirs.safetensors")
    _safetensors_file.save(Path(file), state, {})
    network, loaded = load_network("tiny_resnet", file)
    assert network.num_classes == 7
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)


def test_coco_has_80_classes():
    assert len(COCO) == 91 and len({*COCO} - {"background", "N/A"}) == 80
    assert [COCO[i] for i in (1, 17, 44, 62, 90)] == [
        "person",
        "cat",
        "bottle",
        "chair",
        "toothbrush",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.jpg"], "there is no file nothing.jpg"),
        ([__file__], "cannot be read as a picture"),
        (["photo", "--threshold", "2"], "--threshold has to be from 0 to 1"),
        (["photo", "--norm-epsilon", "-1"], "--norm-epsilon has to be at least 0"),
        (["photo", "--weights", "."], "there is no file model.safetensors"),
        (["photo", "--weights", "no.pth", "--model", "retinanet"], "did you mean"),
    ],
)
def test_detect_says_what_is_wrong(
    monkeypatch, capsys, tmp_path, photo, arguments, message
):
    monkeypatch.chdir(tmp_path)
    arguments = [photo[1] if part == "photo" else part for part in arguments]
    assert run(monkeypatch, "detect", "--weights", "x.safetensors", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1


def test_networks_that_answer_something_else(
    monkeypatch, capsys, tmp_path, photo, detector
):
    classifier = tmp_path / "classifier.safetensors"
    model = cnnjax.create("resnet20_cifar", num_classes=3)
    weights.save(classifier, "resnet20_cifar", noise(model), num_classes=3)
    assert run(monkeypatch, "detect", photo[1], "--weights", classifier) == 2
    error = capsys.readouterr().err
    assert "ResNet says what whole photographs show: use `predict`" in error
    folder, *_ = detector()
    for command in ("predict", "segment"):
        assert run(monkeypatch, command, photo[1], "--weights", folder) == 2
        assert "RetinaNet finds objects: use `detect`" in capsys.readouterr().err
    assert run(monkeypatch, "detect", photo[1]) == 2  # No weights at all.
    assert "--weights" in capsys.readouterr().err
