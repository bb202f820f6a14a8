"""Wide ResNets: depths that do not exist."""

import jax
import jax.numpy as jnp
import pytest

import cnnjax
from cnnjax.models.wide_resnet import WideResNet


@pytest.mark.parametrize("depth", [4, 18])
def test_a_depth_that_does_not_exist_raises(depth):
    model = WideResNet(depth=depth, width=1)
    with pytest.raises(cnnjax.errors.UserError, match="depth must be 10, 16"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
