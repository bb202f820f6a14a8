"""Highway networks: their gates, the published sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import weights
from cnnjax.models._classifier import make_conv
from cnnjax.models.highway import HighwayLayer


def layer_output(gate_bias):
    layer = HighwayLayer(conv=make_conv, act=jnp.tanh, gate_bias=gate_bias)
    x = jax.random.normal(jax.random.key(1), (1, 5, 5, 2))
    y, variables = layer.init_with_output(jax.random.key(0), x)
    transform = make_conv(2, 3).apply({"params": variables["params"]["transform"]}, x)
    return x, y, jnp.tanh(transform)


def test_closed_gate_carries_its_input_on():
    x, y, _ = layer_output(-50.0)
    np.testing.assert_allclose(y, x, atol=1e-6)


def test_open_gate_transforms_it():
    _, y, transformed = layer_output(50.0)
    np.testing.assert_allclose(y, transformed, atol=1e-6)


@pytest.mark.parametrize(("depth", "millions"), [(19, 2.3), (32, 1.25)])
def test_sizes_are_those_of_the_paper(depth, millions):
    shapes = weights.shapes_of(cnnjax.create(f"highway{depth}_cifar"))
    kernels = [path for path in shapes if path.endswith("/kernel")]
    assert len([path for path in kernels if "/gate/" not in path]) == depth
    count = sum(a.size for a in shapes.values())
    assert abs(count / 1e6 / millions - 1) < 0.02
