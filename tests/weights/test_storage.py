"""Weights in fewer bits come back as float32, nearly what they were."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_convert import NAME, assert_equal, variables

import cnnjax
from cnnjax import errors, weights
from cnnjax.weights import _storage


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def flat(tree):
    return flax.traverse_util.flatten_dict(tree, sep="/")


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("storage, share", [("bfloat16", 2**-8), ("int8", 0.5 / 127)])
def test_kernels_are_near_and_the_rest_is_the_same(path, storage, share, scan):
    found = variables(scan=scan)
    weights.save(path, NAME, found, storage=storage, scan=scan)
    model, restored = weights.restore(path)
    assert model == cnnjax.create(NAME, scan=scan)
    restored = flat(restored)
    for name, value in flat(found).items():
        assert restored[name].dtype == np.float32
        if not name.endswith("/kernel"):
            np.testing.assert_array_equal(restored[name], value)
            continue
        # Of each output channel of each block; a loop's blocks are the first axis.
        blocks = int("_blocks" in name)
        axes = tuple(range(blocks, value.ndim - 1))
        largest = np.abs(value).max(axes, keepdims=True)
        assert (np.abs(restored[name] - value) <= 1.001 * share * largest).all()
        assert (restored[name] != value).any()


def test_the_file_is_small(path):
    def size(**options):
        weights.save(path, NAME, variables(), **options)
        return path.stat().st_size

    full = size()
    assert size(storage="bfloat16") < 0.56 * full
    assert size(storage="int8") < 0.34 * full  # Half of the rest is the header's.


def test_what_is_stored_comes_back_the_same(path):
    weights.save(path, NAME, variables(), storage="int8")
    _, once = weights.restore(path)
    weights.save(path, NAME, once, storage="int8")
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        weights.restore(path)[1],
        once,
    )


def test_none_keeps_every_bit(path):
    weights.save(path, NAME, variables(), storage=None)
    assert_equal(weights.restore(path)[1], variables())


def test_a_channel_of_zeros():
    kernel = np.zeros((3, 2), np.float32)
    kernel[0, 0], kernel[1, 0] = -2, 1
    stored = _storage.compress({"a/kernel": kernel}, "int8")
    assert stored["a/kernel"].tolist() == [[-127, 0], [64, 0], [0, 0]]
    found = _storage.expand(stored, "int8")["a/kernel"]
    np.testing.assert_allclose(found, [[-2, 0], [128 / 127, 0], [0, 0]])


@pytest.mark.parametrize("storage", ["int4", "float32"])
def test_unknown_storage(path, storage):
    with pytest.raises(errors.UserError, match=f"unknown storage '{storage}'"):
        weights.save(path, NAME, variables(), storage=storage)
    assert not path.exists()


def test_what_cannot_be_stored(path):
    found = variables(param_dtype=jnp.float16)
    with pytest.raises(errors.UserError, match=r"for float32; of another type are"):
        weights.save(path, NAME, found, storage="int8", param_dtype=jnp.float16)
    found = variables()
    found["params"]["stem"]["kernel"][0, 0, 0, 3] = np.inf
    with pytest.raises(errors.UserError, match="stem/kernel has numbers that are not"):
        weights.save(path, NAME, found, storage="int8")
    assert not path.exists()


KERNEL = "params/stem/kernel"
SCALE = f"{KERNEL}:scale"


@pytest.mark.parametrize(
    "change, message",
    [
        ({SCALE: None}, f"{KERNEL} has no scales"),
        ({KERNEL: None}, f"{SCALE} has no kernel"),
        ({SCALE: np.ones((1, 1, 1, 3), np.float32)}, "the scales of .* instead of"),
        ({SCALE: np.ones(16, np.float32)}, "the scales of .* instead of float32"),
        ({SCALE: np.ones((1, 1, 1, 16))}, "the scales of .* are float64"),
        ({SCALE: np.full((1, 1, 1, 16), np.nan, np.float32)}, "are not finite"),
        ({KERNEL: np.ones((3, 3, 3, 16), np.float32)}, "is float32 instead of int8"),
        ({"params/head/bias": np.ones(10, np.int8)}, "is int8 instead of float32"),
    ],
)
def test_files_of_others_are_errors(path, change, message):
    weights.save(path, NAME, variables(), storage="int8")
    arrays = load_file(path) | change
    metadata = {"cnnjax_model": NAME, "cnnjax_storage": "int8"}
    save_file({k: v for k, v in arrays.items() if v is not None}, path, metadata)
    with pytest.raises(errors.UserError, match=f"damaged: .*{message}"):
        weights.restore(path)


@pytest.mark.parametrize("storage", ["int4", "bfloat16", ""])
def test_a_file_that_lies_about_its_storage(path, storage):
    weights.save(path, NAME, variables(), storage="int8")
    metadata = {"cnnjax_model": NAME, "cnnjax_storage": storage}
    save_file(load_file(path), path, metadata)
    with pytest.raises(errors.UserError, match="damaged"):
        weights.restore(path)


def test_half_the_bits_are_the_first_half(path):
    weights.save(path, NAME, variables(), storage="bfloat16")
    kernel = load_file(path)[KERNEL]
    assert kernel.dtype == ml_dtypes.bfloat16
    expected = variables()["params"]["stem"]["kernel"].astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(kernel, expected)
