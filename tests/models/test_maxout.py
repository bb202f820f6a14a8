"""Maxout: its layer, and the sizes of its maps."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import cnnjax
from cnnjax.nn import Maxout


def test_takes_the_largest_of_neighbouring_channels():
    layer = Maxout(features=3, pieces=2, linear=nn.Dense)
    x = jax.random.normal(jax.random.key(1), (4, 5))
    y, variables = layer.init_with_output(jax.random.key(0), x)
    z = np.asarray(x @ variables["params"]["Dense_0"]["kernel"])  # Biases begin at 0.
    assert z.shape == (4, 6)
    np.testing.assert_allclose(y, np.maximum(z[:, ::2], z[:, 1::2]), atol=1e-6)


def test_sizes_of_endpoints():
    """33 rows pooled to 16, 15 to 7, 9 to 5: last windows stick out."""
    model = cnnjax.create("maxout_cifar")
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    (_, out), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    sides = {name: out[name].shape[1] for name in ("stage1", "stage2", "stage3")}
    assert sides == {"stage1": 16, "stage2": 7, "stage3": 5}
