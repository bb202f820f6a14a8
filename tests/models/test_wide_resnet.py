"""Wide ResNets: blocks as a loop, depths that do not exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.models.wide_resnet import WideResNet


def test_scan_computes_the_same():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    model = WideResNet(
        depth=22, width=1, conv_general_dilated=jax.lax.conv_general_dilated
    )
    scanned = model.clone(scan=True)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), images)
    # Kernels have either sign; variances, among others, are positive.
    variables = jax.tree.map(
        lambda a: np.float32(
            rng.uniform(0.5, 1.0, a.shape)
            if a.ndim < 3
            else rng.normal(size=a.shape) / np.sqrt(np.prod(a.shape[-4:-1]))
        ),
        shapes,
    )
    assert "stage1_blocks2to3" in variables["params"]
    found, _ = jax.jit(scanned.apply)(variables, images)
    expected, _ = jax.jit(model.apply)(cnnjax.weights.unroll(variables), images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.std(expected))


@pytest.mark.parametrize("depth", [4, 18])
def test_a_depth_that_does_not_exist_raises(depth):
    model = WideResNet(depth=depth, width=1)
    with pytest.raises(cnnjax.errors.UserError, match="depth must be 10, 16"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
