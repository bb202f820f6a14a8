"""Exported programs compute what the model computes, wherever they are read."""

import importlib.util
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import cnnjax
from cnnjax import errors, inference
from cnnjax.inference import _artefact


class Net(nn.Module):
    """Everything that a classifier of the zoo has, but small."""

    dtype: str | None = None

    @nn.compact
    def __call__(self, x):
        conv = cnnjax.ops.conv_general_dilated
        x = nn.Conv(4, (3, 3), conv_general_dilated=conv, dtype=self.dtype)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True, dtype=self.dtype)(x))
        x = cnnjax.ops.max_pool2d(x, 2)
        logits = nn.Dense(3, dtype=self.dtype)(x.mean((1, 2)))
        return logits, {"stage1": x}


def prepared(model):
    """Returns random images [2, 6, 6, 3] and variables."""
    images = jax.random.normal(jax.random.key(1), (2, 6, 6, 3))
    variables = model.init(jax.random.key(0), images)
    statistics = variables["batch_stats"]["BatchNorm_0"]
    statistics["mean"], statistics["var"] = jnp.full(4, 0.3), jnp.full(4, 2.0)
    return images, variables


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """An exported model, its images and its output."""
    path = tmp_path_factory.mktemp("exported") / "model.safetensors"
    images, variables = prepared(Net())
    inference.export(Net(), variables, (None, 6, 6, 3), path)
    return path, images, Net().apply(variables, images)[0]


@pytest.fixture
def copy(file, tmp_path):
    """A file to do harm to."""
    path = tmp_path / "copy.safetensors"
    path.write_bytes(file[0].read_bytes())
    return path


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_any_number_of_images(file):
    path, images, expected = file
    model = inference.load(path)
    assert model.images_shape == (None, 6, 6, 3)
    assert model.platforms == ("cpu", "cuda", "tpu")
    close(model(images), expected)
    close(model(np.asarray(images[:1])), expected[:1])
    many = jnp.concatenate([images] * 4)
    close(model(many), jnp.concatenate([expected] * 4))


def test_a_fresh_process_computes_the_same(file, tmp_path):
    """It knows nothing of the model."""
    path, images, expected = file
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, numpy as np\n"
        "from cnnjax import inference\n"
        "path, images, out = sys.argv[1:]\n"
        "np.save(out, inference.load(path)(np.load(images)))\n"
    )
    names = [str(path), str(tmp_path / "images.npy"), str(tmp_path / "out.npy")]
    subprocess.run([sys.executable, "-c", code, *names], check=True)
    close(np.load(names[2]), expected)


def test_statistics_are_gone_and_weights_stand_by_path(file):
    _, arrays, metadata = _artefact.read_artefact(file[0])
    assert {*arrays} == {
        f"params/{layer}/{name}"
        for layer in ("Conv_0", "Dense_0")
        for name in ("kernel", "bias")
    }
    assert metadata["jax_version"] == jax.__version__
    assert metadata["images_dtype"] == "float32"


def test_a_number_of_images_and_a_platform(tmp_path):
    path = tmp_path / "model"
    images, variables = prepared(Net())
    inference.export(Net(), variables, images.shape, path, platforms=["cpu"])
    model = inference.load(path)
    assert (model.images_shape, model.platforms) == ((2, 6, 6, 3), ("cpu",))
    close(model(images), Net().apply(variables, images)[0])
    with pytest.raises(errors.UserError, match=r"takes float32 \(2, 6, 6, 3\)"):
        model(images[:1])


def test_half_precision_survives(tmp_path):
    path = tmp_path / "model"
    model = nn.Dense(3, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    images = jnp.ones((1, 2, 2, 4))
    variables = model.init(jax.random.key(0), images)
    inference.export(model, variables, images.shape, path, platforms=["cpu"])
    arrays = _artefact.read_artefact(path)[1]
    assert arrays["params/kernel"].dtype == jnp.bfloat16
    found = inference.load(path)(images)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, model.apply(variables, images))


@pytest.mark.parametrize(
    "name, side, options",
    [
        ("resnet20_cifar", 8, {"scan": True}),
        pytest.param("shufflenet_v2_x0_5", 32, {}, marks=pytest.mark.slow),
        pytest.param("resnet18", 32, {"deformable_blocks": 1}, marks=pytest.mark.slow),
        pytest.param("swin_t", 64, {}, marks=pytest.mark.slow),
        pytest.param("vgg11_bn", 32, {}, marks=pytest.mark.slow),
    ],
)
def test_networks_take_any_number_of_images(tmp_path, name, side, options):
    model = cnnjax.create(name, num_classes=3, **options)
    images = jax.random.normal(jax.random.key(1), (2, side, side, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    inference.export(model, variables, (None, side, side, 3), tmp_path / "model")
    found = inference.load(tmp_path / "model")(images)
    expected, _ = jax.jit(model.apply)(variables, images)
    scale = jnp.abs(expected).max()
    close(found / scale, expected / scale)


@pytest.mark.parametrize("shape", [(2, 6, 6), (2, 5, 6, 3), (0, 6, 6, 3)])
def test_images_of_another_shape(file, shape):
    message = rf"{', '.join(map(str, shape))}\), but .* takes float32 \(n, 6, 6, 3\)"
    with pytest.raises(errors.UserError, match=message):
        inference.load(file[0])(np.zeros(shape, np.float32))


def test_images_of_another_type(file):
    with pytest.raises(errors.UserError, match="these images are uint8"):
        inference.load(file[0])(np.zeros((1, 6, 6, 3), np.uint8))


def test_what_cannot_be_exported(tmp_path):
    path = tmp_path / "model"
    images, variables = prepared(Net())
    for shape in ((None, None, 6, 3), (2, 6, 0, 3)):
        with pytest.raises(errors.UserError, match="images_shape has to be"):
            inference.export(Net(), variables, shape, path)
    with pytest.raises(errors.UserError, match="did you mean cuda"):
        inference.export(Net(), variables, images.shape, path, platforms=["cude"])
    with pytest.raises(errors.UserError, match="name at least one platform"):
        inference.export(Net(), variables, images.shape, path, platforms=[])
    del variables["params"]["Dense_0"]
    with pytest.raises(errors.UserError, match="missing params/Dense_0/kernel"):
        inference.export(Net(), variables, images.shape, path)
    assert not any(tmp_path.iterdir())


class Counting(nn.Module):
    """A model that wants to know how many images there are."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x) * np.arange(x.shape[0]).sum()


def test_a_model_that_wants_a_number_of_images(tmp_path):
    images = jnp.ones((2, 1, 1, 3))
    variables = Counting().init(jax.random.key(0), images)
    with pytest.raises(errors.UserError, match="cannot be traced for any number"):
        inference.export(Counting(), variables, (None, 1, 1, 3), tmp_path / "model")


def changed(path, **metadata):
    """Changes what a file says of itself; returns its arrays."""
    known = _artefact.read_artefact(path)[2]
    save_file(load_file(path), path, {**known, **metadata})


@pytest.mark.parametrize(
    "metadata, message",
    [
        (
            {"calling_convention": "3", "jax_version": "0.4.9"},
            r"has calling convention 3 \(jax 0.4.9 exported it\), but jax .* again",
        ),
        ({"calling_convention": "99"}, "install a newer jax"),
        ({"calling_convention": '"9"'}, "its calling_convention is '9'"),
        ({"platforms": '["tpu", "cuda"]'}, "was exported for tpu, cuda, not for cpu"),
        ({"platforms": "cpu"}, "its platforms cannot be read"),
        ({"platforms": '["cpu", {}]'}, "its program is not of its weights"),
        ({"images_shape": "[null, 6, 6, 4]"}, "its program is not of its weights"),
        ({"images_shape": "{}"}, "its images_shape is {}"),
    ],
)
def test_files_of_other_versions_and_platforms(copy, metadata, message):
    changed(copy, **metadata)
    with pytest.raises(errors.UserError, match=message):
        inference.load(copy)


def test_weights_and_programs_that_are_damaged(copy):
    program, arrays, metadata = _artefact.read_artefact(copy)

    def write(program, arrays):
        _artefact.write_artefact(copy, program, arrays, metadata)

    for harm in (program[:100], b"", program[::-1]):
        write(harm, arrays)
        with pytest.raises(errors.UserError, match="damaged, or jax"):
            inference.load(copy)
    for harm in (np.zeros((4, 4), np.float32), arrays["params/Dense_0/kernel"][:1]):
        write(program, arrays | {"params/Dense_0/kernel": harm})
        with pytest.raises(errors.UserError, match="not of its weights"):
            inference.load(copy)


def test_a_saved_model_is_no_program(tmp_path):
    save_file({"a": np.ones(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(errors.UserError, match="holds no program"):
        inference.load(tmp_path / "weights.safetensors")


def test_the_extra_is_named_where_it_is_missing(monkeypatch, tmp_path):
    images, variables = prepared(Net())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.UserError, match=r"cnnjax\[export\]"):
        inference.load(tmp_path / "nothing")
    with pytest.raises(errors.UserError, match=r"cnnjax\[export\]"):
        inference.export(Net(), variables, images.shape, tmp_path / "model")
