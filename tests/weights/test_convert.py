"""Conversion is loud about what does not fit, and lossless about what does."""

import flax.traverse_util
import jax
import numpy as np
import pytest
import torch_files

import cnnjax
from cnnjax import errors, weights


NAME = "resnet20_cifar"


def variables(**options):
    model = cnnjax.create(NAME, **options)
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 8, 8, 3)))
    return jax.tree.map(lambda a: rng.normal(size=a.shape).astype(a.dtype), shapes)


@pytest.fixture
def state():
    return weights.to_torch(NAME, variables())


def assert_equal(a, b):
    def same(u, v):
        assert u.dtype == v.dtype
        np.testing.assert_array_equal(u, v)

    jax.tree.map(same, a, b)


def test_undoes_to_torch_bit_by_bit(state):
    assert_equal(weights.from_torch(NAME, state), variables())


def test_reads_a_file(tmp_path, state):
    path = tmp_path / "weights.pth"
    path.write_bytes(torch_files.zipped(state))
    assert_equal(weights.load(NAME, path), variables())
    with pytest.raises(errors.UserError, match="there is no file"):
        weights.load(NAME, tmp_path / "nothing.pth")


def test_names_what_is_missing_unexpected_and_misshapen(state):
    del state["features.init_block.bn.bias"]
    state["surplus"] = np.zeros(3)
    state["features.stage1.unit2.body.conv1.conv.weight"] = np.zeros((16, 16, 5, 5))
    with pytest.raises(errors.UserError) as caught:
        weights.from_torch(NAME, state)
    for problem in (
        "missing features.init_block.bn.bias",
        "unexpected surplus",
        "features.stage1.unit2.body.conv1.conv.weight has shape (16, 16, 5, 5)",
    ):
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    "value", [np.zeros(()), np.zeros(3), np.zeros((3, 3, 16)), np.zeros((16, 3, 9, 1))]
)
def test_any_shape_is_an_error_that_names_it(state, value):
    """Never another exception, and never silently reshaped."""
    for key in ("features.init_block.conv.weight", "features.init_block.bn.weight"):
        with pytest.raises(errors.UserError, match=rf"{key} has shape \("):
            weights.from_torch(NAME, state | {key: value})


@pytest.mark.parametrize(
    "state", [{}, {"weight": np.zeros(3)}, {"output.bias": np.ones(())}]
)
def test_weights_of_something_else_are_refused(state):
    with pytest.raises(errors.UserError, match="lack the head"):
        weights.from_torch(NAME, state)


def test_to_torch_names_what_is_missing_and_unexpected():
    found = variables()
    found["params"]["surplus"] = found["params"].pop("stem")
    with pytest.raises(errors.UserError) as caught:
        weights.to_torch(NAME, found)
    assert "missing params/stem/kernel" in str(caught.value)
    assert "unexpected params/surplus/kernel" in str(caught.value)


def test_deformable_blocks_have_names():
    options = {"deformable_blocks": 2}
    model = cnnjax.create("resnet18", **options)
    shapes = weights.shapes_of(model)
    flat = {path: np.full(a.shape, 2, a.dtype) for path, a in shapes.items()}
    found = flax.traverse_util.unflatten_dict(flat, sep="/")
    state = weights.to_torch("resnet18", found, **options)
    assert state["layer4.1.conv2_offset.weight"].shape == (18, 512, 3, 3)
    assert_equal(weights.from_torch("resnet18", state, **options), found)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module.model."])
def test_prefix_of_others_training_is_taken_off(state, prefix):
    prefixed = {f"{prefix}{key}": value for key, value in state.items()}
    assert_equal(weights.from_torch(NAME, prefixed), variables())


def test_classes_are_read_off_the_file_and_another_number_drops_the_head():
    state = weights.to_torch(NAME, variables(num_classes=7))
    head = weights.from_torch(NAME, state)["params"]["head"]
    assert head["kernel"].shape == (64, 7)
    with pytest.warns(UserWarning, match="left out the head of 7 classes; that of 3"):
        found = weights.from_torch(NAME, state, num_classes=3)
    assert found["params"]["head"]["kernel"].shape == (64, 3)
    assert not found["params"]["head"]["kernel"].any()


def test_channels_are_read_off_the_file(state):
    key = "features.init_block.conv.weight"
    state[key] = np.concatenate([state[key], state[key]], axis=1)
    found = weights.from_torch(NAME, state)
    assert found["params"]["stem"]["kernel"].shape == (3, 3, 6, 16)


@pytest.mark.parametrize("channels", [1, 6])
def test_first_kernel_answers_alike_to_other_channels(state, channels):
    """A grey image is seen as before."""
    kernel = variables()["params"]["stem"]["kernel"]
    with pytest.warns(UserWarning, match=f"of 3 channels, one of {channels}"):
        found = weights.from_torch(NAME, state, in_channels=channels)
    adapted = found["params"]["stem"]["kernel"]
    assert adapted.shape == (3, 3, channels, 16)
    np.testing.assert_allclose(adapted.sum(2), kernel.sum(2), atol=1e-5)


def test_scanned_model_computes_the_same():
    flat = variables()
    scanned = cnnjax.create(NAME, scan=True)
    images = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype(np.float32)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), images)
    rolled = weights.roll(flat, shapes)
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), rolled, shapes)
    assert_equal(weights.unroll(rolled), flat)
    assert_equal(weights.to_torch(NAME, rolled), weights.to_torch(NAME, flat))
    flat["batch_stats"] = jax.tree.map(np.abs, flat["batch_stats"])
    rolled = weights.roll(flat, shapes)
    y, _ = jax.jit(cnnjax.create(NAME).apply)(flat, images)
    for model in (scanned, scanned.clone(remat=True)):
        z, _ = jax.jit(model.apply)(rolled, images)
        np.testing.assert_allclose(z, y, rtol=0, atol=1e-5 * np.abs(y).max())
