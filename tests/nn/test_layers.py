"""The layers: what they begin as, what they learn from, what they do by chance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import nn, ops


X = jnp.asarray(np.random.RandomState(0).randn(4, 6, 5, 8), jnp.float32)
PAD = ((1, 1), (1, 1))
LAYERS = {
    "squeeze-excite": nn.SqueezeExcite(2),
    "layer scale": nn.LayerScale(),
    "transposed": nn.ConvTranspose(6, (4, 4), (2, 2), PAD, feature_group_count=2),
    "deformable": nn.DeformConv(6, (3, 3), padding=PAD, offset_group_count=2),
    "deformable v1": nn.DeformConv(6, (3, 3), (2, 2), PAD, modulated=False),
    "shift": nn.Shift(),
    "blur": nn.BlurPool(),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_reach_every_parameter_and_half_precision_stays(name):
    layer = LAYERS[name]
    y, variables = jax.jit(layer.init_with_output)(jax.random.key(0), X)
    assert y.dtype == jnp.float32
    variables = jax.tree.map(lambda p: p + 0.01, variables)

    @jax.jit
    @jax.grad
    def gradient(variables):
        weights = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
        return (jnp.sin(layer.apply(variables, X)) * weights).sum()

    chex.assert_tree_all_finite(gradient(variables))
    for g in jax.tree.leaves(gradient(variables)):
        assert (g != 0).any()
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), variables)
    out = jax.eval_shape(layer.apply, half, X.astype(jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    assert out.shape == y.shape


def test_squeeze_excite_weighs_whole_channels():
    layer = nn.SqueezeExcite(2)
    y, _ = layer.init_with_output(jax.random.key(0), X)
    factors = y / X
    np.testing.assert_allclose(factors, factors[:, :1, :1] + 0 * X, rtol=1e-4)
    assert ((factors > 0) & (factors < 1)).all()


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    layer = nn.DropPath(0.25, deterministic=False)
    x = jnp.ones((4000, 2, 3))
    key = {"dropout": jax.random.key(0)}
    y = layer.apply({}, x, rngs=key)
    assert set(np.unique(y).round(5)) == {0.0, np.float32(4 / 3).round(5)}
    assert (y == y[:, :1, :1]).all()
    np.testing.assert_allclose(y.mean(), 1, atol=0.05)
    np.testing.assert_array_equal(nn.DropPath(0.25).apply({}, x), x)


@pytest.mark.parametrize("rate", [-0.5, 1.5])
def test_drop_path_refuses_what_is_no_probability(rate):
    with pytest.raises(ValueError, match=f"between 0 and 1, not {rate}"):
        nn.DropPath(rate).apply({}, X)


@pytest.mark.parametrize("features", [1, 5])
def test_transposed_refuses_features_that_groups_do_not_divide(features):
    layer = nn.ConvTranspose(features, (2, 2), feature_group_count=2)
    message = f"feature_group_count 2 does not divide features {features}"
    with pytest.raises(ValueError, match=message):
        layer.init(jax.random.key(0), X)


def test_drop_path_that_always_drops_has_no_gradient():
    def total(x):
        key = {"dropout": jax.random.key(0)}
        return nn.DropPath(1.0, deterministic=False).apply({}, x, rngs=key).sum()

    y, gradient = jax.value_and_grad(total)(jnp.ones((4, 2, 3)))
    assert y == 0
    np.testing.assert_array_equal(gradient, 0)


def test_layer_scale_begins_near_zero():
    y, _ = nn.LayerScale(0.1).init_with_output(jax.random.key(0), X)
    np.testing.assert_allclose(y, 0.1 * X, rtol=1e-6)


def test_deformable_begins_as_a_convolution_of_half_its_taps():
    layer = nn.DeformConv(6, (3, 3), (2, 2), PAD)
    y, variables = layer.init_with_output(jax.random.key(0), X)
    expected = ops.conv2d(X, variables["params"]["kernel"], None, 2, 1) / 2
    np.testing.assert_allclose(y, expected, atol=1e-5)
    first = nn.DeformConv(6, (3, 3), (2, 2), PAD, modulated=False)
    np.testing.assert_allclose(
        first.apply(
            variables
            | {
                "params": {
                    **variables["params"],
                    "offset": {
                        "kernel": jnp.zeros((3, 3, 8, 18)),
                        "bias": jnp.zeros(18),
                    },
                }
            },
            X,
        ),
        2 * expected,
        atol=1e-5,
    )


def test_shift_is_that_of_the_grid():
    expected = ops.shift2d(X, ops.grid_displacements(8, 1))
    np.testing.assert_array_equal(nn.Shift(1).apply({}, X), expected)
    x = jnp.tile(X, (1, 1, 1, 2))
    y = nn.Shift(3, mode="circular").apply({}, x)
    np.testing.assert_array_equal(y[..., 0], np.roll(x[..., 0], (1, 1), (1, 2)))
