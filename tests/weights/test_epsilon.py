"""Weights of another epsilon."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import errors, trees, weights
from cnnjax.models import Network


class Norms(Network):
    """Two layers whose epsilons differ, unless they are told one."""

    epsilon: float | None = None

    @nn.compact
    def __call__(self, image, *, train=False):
        for k, own in enumerate((1e-3, 1e-5)):
            layers = self.layers(train, epsilon=self.epsilon or own)
            image = layers.norm(name=f"norm{k}")(layers.conv(4)(image))
        return image, {}


def test_computes_what_another_epsilon_would():
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    model = Norms(image_size=8)
    variables = model.init(jax.random.key(0), images)
    # So small that the epsilon is a good part of what is divided by.
    small = jax.tree.map(lambda x: x * 1e-3, variables["batch_stats"])
    variables = {**variables, "batch_stats": small}
    changed = weights.with_norm_epsilon(model, variables, 5e-3)
    expected, _ = Norms(epsilon=5e-3).apply(variables, images)
    found, _ = model.apply(changed, images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    unchanged, _ = model.apply(variables, images)
    assert jnp.abs(unchanged - expected).max() > 10


def test_without_norms_there_is_nothing_to_change():
    model = cnnjax.create("squeezenet1_0", num_classes=3)
    with pytest.raises(errors.UserError, match="SqueezeNet has no batch norm"):
        weights.with_norm_epsilon(model, {}, 0.0)


def test_changes_every_norm_of_a_scanned_model():
    model = cnnjax.create("resnet20_cifar", scan=True)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    changed = trees.flat(weights.with_norm_epsilon(model, variables, 0.0))
    assert changed.keys() == trees.flat(variables).keys()
    for path, value in changed.items():
        assert value.dtype == np.float32
        expected = -1e-5 if path.endswith("/var") else 0.0
        np.testing.assert_allclose(value, expected, err_msg=path)
