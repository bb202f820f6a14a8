"""Weights from safetensors files, the hub's cache and packages."""

import ml_dtypes
import numpy as np
import pytest
import torch_files
from PIL import Image
from safetensors.numpy import save, save_file
from test_convert import NAME, assert_equal, variables

from cnnjax import errors, weights
from cnnjax.weights import _safetensors_file


@pytest.fixture(scope="module")
def state():
    return weights.to_torch(NAME, variables())


def test_reads_safetensors(tmp_path, state):
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    assert_equal(weights.load(NAME, path), variables())


def test_reads_bfloat16(tmp_path):
    path = tmp_path / "model.safetensors"
    half = np.arange(3).astype(ml_dtypes.bfloat16)
    save_file({"a": half}, path)
    arrays, _ = _safetensors_file.load(path)
    assert arrays["a"].dtype == half.dtype
    np.testing.assert_array_equal(arrays["a"], half)


def test_numbers_of_an_unknown_type_are_an_error(tmp_path):
    path = tmp_path / "model.safetensors"
    header = b'{"a":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    with pytest.raises(errors.UserError, match="F8_E8M0"):
        weights.load(NAME, path)


def test_damaged_safetensors_are_an_error_and_nothing_else(tmp_path):
    """Truncated at random, with random bits flipped, or random altogether."""
    rng = np.random.default_rng(0)
    data = save({"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"b": "c"})
    path = tmp_path / "model.safetensors"
    for _ in range(300):
        kind = rng.integers(3)
        if kind == 0:
            damaged = data[: rng.integers(len(data))]
        elif kind == 1:
            flipped = bytearray(data)
            flipped[rng.integers(len(data) - 24)] ^= 1 << rng.integers(8)
            damaged = bytes(flipped)
        else:
            damaged = rng.bytes(rng.integers(200))
        path.write_bytes(damaged)
        for read in (weights.restore, lambda path: weights.load(NAME, path)):
            with pytest.raises(errors.UserError, match=r"model|lack the head"):
                read(path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache as huggingface_hub keeps it, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository, revision = tmp_path / "models--somebody--net", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    folder = repository / "snapshots" / revision
    folder.mkdir(parents=True)
    return folder


def test_reads_what_the_hub_has_cached(hub, state):
    save_file(state, hub / "model.safetensors")
    assert_equal(weights.load(NAME, "hf://somebody/net"), variables())
    (hub / "other.pth").write_bytes(torch_files.zipped(state))
    assert_equal(weights.load(NAME, "hf://somebody/net/other.pth"), variables())


def test_falls_back_to_pytorch_s_file(hub, state):
    (hub / "pytorch_model.bin").write_bytes(torch_files.zipped(state))
    assert_equal(weights.load(NAME, "hf://somebody/net"), variables())


def test_preprocessing_is_the_repository_s(hub):
    (hub / "config.json").write_text(
        '{"pretrained_cfg": {"input_size": [3, 288, 288], "crop_pct": 0.95,'
        '"mean": [0.5, 0.5, 0.5], "interpolation": "bicubic"}}'
    )
    found = weights.preprocessing("resnet50", "hf://somebody/net")
    assert found == weights.Preprocessing(
        288, 0.95, mean=(0.5, 0.5, 0.5), interpolation="bicubic"
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"input_size": 3}', '{"a": {}}'])
def test_repositories_that_say_nothing_have_the_usual_one(hub, text):
    (hub / "config.json").write_text(text)
    found = weights.preprocessing("resnet50", "hf://somebody/net")
    assert found == weights.Preprocessing(224)


@pytest.mark.parametrize(
    "source", ["hf://somebody/nothing", "hf://somebody/net/no.bin", "hf://somebody"]
)
def test_what_is_not_there_is_an_error(hub, source):
    with pytest.raises(errors.UserError, match="hf://somebody"):
        weights.load(NAME, source)


def test_weights_of_tensorflow_need_its_padding(hub):
    source = "hf://timm/tf_efficientnet_b0"
    with pytest.warns(UserWarning, match="padding="):
        with pytest.raises(errors.UserError, match="tf_efficientnet_b0"):
            weights.load("efficientnet_b0", source)
    with pytest.raises(errors.UserError, match="tf_efficientnet_b0"):  # No warning.
        weights.load("efficientnet_b0", source, padding="SAME", epsilon=1e-3)


def test_packages_have_some_variants_only():
    with pytest.raises(errors.UserError, match="there are efficientnet_lite0"):
        weights.load("resnet50", "pypi")


@pytest.mark.parametrize("size", [(50, 40), (40, 50), (7, 31), (64, 64)])
def test_preprocessing_of_photographs_of_any_size(size):
    prepare = weights.Preprocessing(32, 0.8, (0.5, 0.5, 0.5), (0.25, 0.5, 1.0))
    image = prepare(Image.new("L", size, 255))
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, np.broadcast_to([2.0, 1.0, 0.5], image.shape))


def test_preprocessing_shows_the_centre_upright():
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[16:48, 32:64] = 255
    photo = Image.fromarray(pixels)
    prepare = weights.Preprocessing(32, 0.5, (0.0,) * 3, (1.0,) * 3, "nearest")
    assert prepare(photo).min() == 1
    pixels[32:48, 32:64, 1:] = 0  # The lower half is red.
    turned = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_180)
    turned.getexif()[0x0112] = 3  # EXIF: rotated by 180 degrees.
    image = prepare(turned)
    assert image[:16].min() == 1
    assert image[16:, :, 1:].max() == 0


def test_all_of_a_photograph_fits():
    prepare = weights.Preprocessing(32, mean=(0.5,) * 3, std=(0.25,) * 3)
    image, size = prepare.fit(Image.new("RGB", (80, 21), (255, 0, 51)))
    assert image.shape == (32, 32, 3) and size == (8, 32)
    np.testing.assert_allclose(image[:8], np.tile([2, -2, -1.2], (8, 32, 1)), rtol=1e-6)
    assert not image[8:].any()


def test_ssd_takes_pixels_less_their_mean():
    image = weights.preprocessing("ssd300_vgg16", "ssd.pth").normalise(
        Image.new("RGB", (1, 1), (123, 117, 104))
    )
    np.testing.assert_allclose(image[0, 0], 0, atol=0.01)
