"""The inverted residual block: where its input joins, and what is left out."""

import functools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import nn


X = jnp.asarray(np.random.RandomState(0).randn(4, 6, 5, 8), jnp.float32)


def conv(features, kernel_size=1, strides=1, **options):
    shape = (kernel_size,) * 2, (strides,) * 2
    return flax.linen.Conv(features, *shape, use_bias=False, **options)


def block(features=8, hidden_features=24, kernel_size=3, strides=1, **options):
    return nn.InvertedResidual(
        features,
        hidden_features,
        kernel_size,
        strides,
        conv=conv,
        spatial_conv=conv,
        norm=functools.partial(flax.linen.BatchNorm, use_running_average=True),
        act=flax.linen.relu,
        drop_path=functools.partial(nn.DropPath, deterministic=False),
        squeeze_excite=nn.SqueezeExcite,
        **options,
    )


# Kernels: 1x1, 3x3 depthwise or dense, 1x1; scale and bias of each norm; two layers.
@pytest.mark.parametrize(
    ("options", "num_params"),
    [
        ({}, 8 * 24 + 9 * 24 + 24 * 8 + 2 * (24 + 24 + 8)),
        ({"hidden_features": 8}, 9 * 8 + 8 * 8 + 2 * (8 + 8)),
        ({"fused": True}, 9 * 8 * 24 + 24 * 8 + 2 * (24 + 8)),
        ({"fused": True, "hidden_features": 8}, 9 * 8 * 8 + 2 * 8),
        ({"hidden_features": 8, "squeezed_features": 2}, 168 + 8 * 2 + 2 + 2 * 8 + 8),
    ],
)
def test_has_only_the_convolutions_it_needs(options, num_params):
    variables = jax.eval_shape(block(**options).init, jax.random.key(0), X)
    assert sum(a.size for a in jax.tree.leaves(variables["params"])) == num_params


@pytest.mark.parametrize("fused", [False, True])
def test_the_input_joins_where_the_shape_stays(fused):
    @jax.jit
    def apply(variables, x, rate):
        return block(fused=fused).apply(
            variables, x, rate, rngs={"dropout": jax.random.key(1)}
        )

    shapes = jax.eval_shape(block(fused=fused).init, jax.random.key(0), X)
    variables = jax.tree.map(lambda a: np.full(a.shape, 0.1, np.float32), shapes)
    np.testing.assert_array_equal(apply(variables, X, 1.0), X)
    assert not np.allclose(apply(variables, X, 0.0), X)


def test_one_pixel_stays_one_with_strides_but_does_not_join():
    model, pixel = block(strides=2), X[:, :1, :1]
    shapes = jax.eval_shape(model.init, jax.random.key(0), pixel)
    variables = jax.tree.map(lambda a: np.zeros(a.shape, np.float32), shapes)
    y = jax.jit(model.apply)(variables, pixel)
    np.testing.assert_array_equal(y, np.zeros_like(pixel))


@pytest.mark.parametrize(
    ("channels", "rounded"), [(1, 8), (11, 16), (12, 16), (18, 24), (20, 24), (32, 32)]
)
def test_round_channels(channels, rounded):
    assert nn.round_channels(channels) == rounded
