"""Specialised models compute the same, from images of one shape alone."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import cnnjax
from cnnjax import errors, inference
from cnnjax.inference import _compiler
from cnnjax.inference._compiler import compiler_options
from cnnjax.inference._lowerings import for_inference


def prepared(model, shape):
    images = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    return images, jax.jit(model.init)(jax.random.key(0), images)


def assert_close(found, expected):
    scale = jnp.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-5)


@pytest.fixture(scope="module")
def example():
    """A network, its images, its variables and what it computes."""
    model = cnnjax.create("resnet20_cifar", num_classes=5)
    images, variables = prepared(model, (2, 16, 16, 3))
    return model, images, variables, jax.jit(model.apply)(variables, images)[0]


def test_computes_the_output_alone(example):
    model, images, variables, expected = example
    fast = inference.specialise(model, variables, images.shape)
    assert_close(fast(images), expected)
    assert_close(fast(np.asarray(images)), expected)
    assert fast.images_shape == (2, 16, 16, 3)
    assert fast.platform == jax.default_backend()
    assert not images.is_deleted()


def test_what_is_saved_is_loaded(example, tmp_path):
    pytest.importorskip("flatbuffers")
    model, images, variables, expected = example
    inference.specialise(model, variables, images.shape).save(tmp_path / "fast")
    loaded = inference.load(tmp_path / "fast")
    assert_close(loaded(images), expected)
    assert loaded.images_shape == (2, 16, 16, 3)
    assert loaded.platforms == ("cpu",)
    assert [path.name for path in tmp_path.iterdir()] == ["fast"]
    assert_close(jax.jit(lambda x: loaded(x))(images), expected)


def test_the_compiler_is_told_what_it_knows_and_nothing_else(monkeypatch):
    options = {"xla_cpu_prefer_vector_width": "512", "xla_no_such_option": "1"}
    monkeypatch.setattr(_compiler, "_OPTIONS", {jax.default_backend(): options})
    assert compiler_options() == {"xla_cpu_prefer_vector_width": "512"}
    jax.jit(jnp.sin, compiler_options=compiler_options())(1.0)


def test_products_are_xlas_own(example):
    model, images, variables, _ = example
    fast = inference.specialise(model, variables, images.shape)
    assert "ynn" not in fast.compiled.as_text()


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((1, 16, 16, 3), np.float32), r"float32 \(1, 16, 16, 3\), but"),
        (np.zeros((2, 16, 16), np.float32), r"float32 \(2, 16, 16\), but"),
        (
            np.zeros((2, 16, 16, 3), np.uint8),
            r"uint8 .* takes float32 \(2, 16, 16, 3\)",
        ),
    ],
)
def test_other_images_are_refused(example, images, message):
    model, expected, variables, _ = example
    fast = inference.specialise(model, variables, expected.shape)
    with pytest.raises(errors.UserError, match=message):
        fast(images)


def test_variables_of_another_model_are_refused(example):
    _, images, variables, _ = example
    with pytest.raises(errors.UserError, match=r"missing .*stage1_block4"):
        inference.specialise(
            cnnjax.create("resnet32_cifar", num_classes=5), variables, images.shape
        )


class Plain(nn.Module):
    """A model as others write it, with XLA's own convolutions in all sorts of calls."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(64, (3, 3))(x))
        x = nn.remat(nn.Conv)(64, (3, 3))(x)
        x = jax.jit(lambda x: nn.gelu(x) * x)(x)
        x = nn.jit(nn.Conv)(64, (3, 3), feature_group_count=64)(x)
        y, _ = lax.scan(lambda y, _: (jnp.sin(y), y), x, None, length=2)
        first, *_ = jnp.split(y, 2, axis=-1)
        return lax.cond(y.sum() > 0, lambda: first, lambda: -first)


def test_a_users_convolutions_are_replaced():
    images, variables = prepared(Plain(), (1, 12, 12, 8))
    call = functools.partial(Plain().apply, variables)
    jaxpr = str(jax.make_jaxpr(for_inference(call))(images))
    assert "lowering=winograd" in jaxpr
    assert "lowering=depthwise" in jaxpr
    assert " conv_general_dilated[" not in jaxpr
    fast = inference.specialise(Plain(), variables, images.shape)
    assert_close(fast(images), call(images))


def test_lowerings_that_were_asked_for_stay():
    def conv(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return cnnjax.ops.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=layout, lowering="dense"
        )

    arrays = jnp.ones((1, 12, 12, 64)), jnp.ones((3, 3, 64, 64))
    jaxpr = str(jax.make_jaxpr(for_inference(conv))(*arrays))
    assert "lowering=dense" in jaxpr and "everywhere=True" in jaxpr


def test_what_products_and_others_read_is_computed_once():
    def call(x, kernels):
        for kernel in kernels:
            x = jax.nn.relu(x + cnnjax.ops.conv2d(x, kernel, padding=1))
        return jnp.sin(x) * x

    x, kernels = jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 3, 4, 4))
    jaxpr = str(jax.make_jaxpr(for_inference(call))(x, kernels))
    # The ends of the first two blocks: the input is no result, and no product reads
    # the last.
    assert jaxpr.count("cnnjax_stored") == 2
    found = jax.jit(for_inference(call))(x, kernels)
    assert_close(found, call(x, kernels))


def test_integers_stay():
    def call(x):
        counts = jnp.floor(x).astype(jnp.int32) + 1
        return counts @ counts.T + counts.sum()

    x = jnp.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(jax.jit(for_inference(call))(x), call(x))
