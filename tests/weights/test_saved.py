"""A saved model comes back whole, or not at all."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file
from test_convert import NAME, assert_equal, variables

import cnnjax
from cnnjax import detection, errors, weights


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "model.safetensors"


def test_restores_the_model_and_its_variables(path):
    options = {"num_classes": 7, "shortcut": "pad", "dtype": jnp.bfloat16}
    found = variables(**options)
    weights.save(path, NAME, found, **options)
    model, restored = weights.restore(path)
    assert model == cnnjax.create(NAME, **options)
    assert_equal(restored, found)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    (path.parent / "other").touch()  # Whoever may read other files may read this one.
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_keeps_half_precision_and_scanned_blocks(path):
    options = {"scan": True, "param_dtype": jnp.bfloat16}
    found = variables(**options)
    weights.save(path, NAME, found, **options)
    model, restored = weights.restore(path)
    assert model == cnnjax.create(NAME, **options)
    assert restored["params"]["stem"]["kernel"].dtype == jnp.bfloat16
    assert_equal(restored, found)


def test_keeps_tuples_that_a_module_can_be_hashed_with(path):
    weights.save(path, NAME, variables(depths=(1, 2, 1)), depths=(1, 2, 1))
    model, restored = weights.restore(path)
    assert model == cnnjax.create(NAME, depths=(1, 2, 1))
    hash(model)
    images = jnp.zeros((1, 8, 8, 3))
    jax.eval_shape(model.apply, restored, images)


def test_keeps_what_a_detector_selects(path):
    name = "retinanet_resnet18_fpn_small"
    options = {"selection": detection.Selection(0.3, max_detections=7)}
    shapes = jax.eval_shape(
        cnnjax.create(name).init, jax.random.key(0), jnp.zeros((1, 64, 64, 3))
    )
    found = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    weights.save(path, name, found, **options)
    model, _ = weights.restore(path)
    assert model == cnnjax.create(name, **options)
    assert weights.preprocessing(name, path).image_size == 64


def test_options_can_differ_from_those_kept(path):
    weights.save(path, NAME, variables(), axis_name="batch")
    model, _ = weights.restore(path, axis_name=None)
    assert model == cnnjax.create(NAME)


def test_other_channels(path):
    model = cnnjax.create(NAME)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 5)))
    found = jax.tree.map(lambda a: np.ones(a.shape, a.dtype), shapes)
    weights.save(path, NAME, found)
    assert_equal(weights.restore(path)[1], found)


def test_preprocessing_belongs_to_the_weights(path):
    own = weights.Preprocessing(40, 0.9, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), "nearest")
    weights.save(path, NAME, variables(), preprocessing=own)
    assert weights.preprocessing("resnet50", path) == own
    weights.save(path, NAME, variables())
    assert weights.preprocessing("resnet50", path) == weights.Preprocessing(32)


def test_class_names_may_be_kept(path):
    names = ["a", "b", "c"]
    weights.save(path, NAME, variables(num_classes=3), num_classes=3, class_names=names)
    assert weights.class_names(path) == names
    weights.save(path, NAME, variables())
    assert weights.class_names(path) is None
    assert weights.class_names("weights.pth") is None
    with pytest.raises(errors.UserError, match="3 class names for 10 classes"):
        weights.save(path, NAME, variables(), class_names=names)
    save_file({}, path, {"cnnjax_model": NAME, "cnnjax_class_names": "3"})
    with pytest.raises(errors.UserError, match="its class names are damaged"):
        weights.class_names(path)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_channels_of_the_images_follow_from_the_variables(channels):
    model = cnnjax.create(NAME)
    images = jnp.zeros((1, 8, 8, channels))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    assert weights.in_channels(model, shapes) == channels


def test_variables_of_another_model_are_refused(path):
    with pytest.raises(errors.UserError, match=r"head/kernel has shape \(64, 7\)"):
        weights.save(path, NAME, variables(num_classes=7))
    found = variables()
    del found["params"]["stem"]
    with pytest.raises(errors.UserError, match="missing params/stem/kernel"):
        weights.save(path, NAME, found)
    assert not path.exists()


def test_functions_cannot_be_kept(path):
    with pytest.raises(errors.UserError, match="give it to `restore`"):
        weights.save(path, NAME, variables(), act=jax.nn.gelu)


def test_failed_save_leaves_the_old_file(path, monkeypatch):
    weights.save(path, NAME, variables())
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        weights.save(path, NAME, variables(num_classes=3), num_classes=3)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "does not say which model"),
        ({"cnnjax_model": "resnet20_cifr"}, "did you mean resnet20_cifar"),
        ({"cnnjax_model": NAME, "cnnjax_options": "{"}, "options are damaged"),
        ({"cnnjax_model": NAME, "cnnjax_options": "[1]"}, "options are damaged"),
        ({"cnnjax_model": NAME, "cnnjax_options": '{"nothing": 1}'}, "nothing"),
        ({"cnnjax_model": NAME, "cnnjax_options": '{"dtype": "x"}'}, "damaged"),
        ({"cnnjax_model": NAME, "cnnjax_options": '{"depths": {}}'}, "no fields"),
        ({"cnnjax_model": NAME, "cnnjax_options": '{"depths": "abc"}'}, "no model has"),
        ({"cnnjax_model": NAME}, "does not fit resnet20_cifar: missing"),
    ],
)
def test_files_of_others_are_errors(path, metadata, message):
    path.parent.mkdir()
    save_file({"a": np.zeros(3, np.float32)}, path, metadata)
    with pytest.raises(errors.UserError, match=message):
        weights.restore(path)


def test_no_file():
    with pytest.raises(errors.UserError, match="there is no file"):
        weights.restore("nothing.safetensors")


def test_load_says_how_to_read_a_saved_model(path):
    weights.save(path, NAME, variables())
    with pytest.raises(errors.UserError, match="is a saved model"):
        weights.load(NAME, path)


def test_options_are_plain_text_in_the_header(path):
    weights.save(path, NAME, variables(num_classes=7), num_classes=7)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    assert header["__metadata__"]["cnnjax_model"] == NAME
    assert json.loads(header["__metadata__"]["cnnjax_options"]) == {"num_classes": 7}
