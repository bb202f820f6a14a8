"""The halves of a transformer's block."""

import chex
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import nn


X = jnp.asarray(np.random.RandomState(0).randn(2, 3, 5, 8), jnp.float32)


def test_attention_is_that_of_linen_with_other_kernels():
    layer = nn.SelfAttention(heads=2)
    y, variables = layer.init_with_output(jax.random.key(0), X)
    qkv = variables["params"]["qkv"]["kernel"].reshape(8, 3, 2, 4)
    bias = jnp.zeros((2, 4))
    theirs = {
        name: {"kernel": qkv[:, i], "bias": bias}
        for i, name in enumerate(("query", "key", "value"))
    }
    out = variables["params"]["proj"]["kernel"].reshape(2, 4, 8)
    theirs["out"] = {"kernel": out, "bias": jnp.zeros(8)}
    expected = linen.MultiHeadDotProductAttention(num_heads=2).apply(
        {"params": theirs}, X
    )
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_a_bias_decides_which_tokens_are_seen():
    layer = nn.SelfAttention(heads=2)
    variables = layer.init(jax.random.key(0), X)
    itself = jnp.where(jnp.eye(5, dtype=bool), 0.0, -jnp.inf)[None, None, None]
    seen = layer.apply(variables, X, itself)
    alone = layer.apply(variables, X[..., None, :])[..., 0, :]
    np.testing.assert_allclose(seen, alone, atol=1e-6)


def test_half_precision_stays():
    for layer in (nn.Mlp(), nn.SelfAttention(heads=4)):
        variables = layer.init(jax.random.key(0), X)
        half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (variables, X))
        assert jax.eval_shape(layer.apply, *half).dtype == jnp.bfloat16


def test_mlp_is_wider_inside():
    shapes = jax.eval_shape(nn.Mlp(expansion=3).init, jax.random.key(0), X)
    chex.assert_shape(shapes["params"]["Dense_0"]["kernel"], (8, 24))
    chex.assert_shape(shapes["params"]["Dense_1"]["kernel"], (24, 8))
