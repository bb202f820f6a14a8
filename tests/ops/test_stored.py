"""Storing changes no number, and nothing before what is stored is computed again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import cost, ops
from cnnjax.models import _stages, resnet_cifar
from cnnjax.ops import _primitive
from cnnjax.ops._stored import stored, stored_p


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_number_stays(dtype):
    values = [0.0, -0.0, 1.0, -3.5, 1e-40, 6e4, np.inf, -np.inf, np.nan]
    x = jnp.array(values, dtype).reshape(3, 3)
    for way in (stored, stored_p.bind, jax.jit(stored_p.bind), jax.vmap(stored_p.bind)):
        found = way(x)
        assert found.dtype == x.dtype
        # NumPy does not know bfloat16's NaN for one.
        found, wanted = found.astype("float32"), x.astype("float32")
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(jnp.signbit(found), jnp.signbit(wanted))


def test_derivatives_are_those_of_the_identity():
    x = jnp.array([0.0, -2.0, 3.0])
    np.testing.assert_array_equal(jax.jacfwd(stored)(x), jnp.eye(3))
    np.testing.assert_array_equal(jax.jacrev(stored)(x), jnp.eye(3))
    np.testing.assert_array_equal(
        jax.hessian(lambda x: (stored(x) ** 3).sum())(x), jnp.diag(6 * x)
    )


def most_blocks_at_once():
    """Returns how many blocks' ends the fullest loop over numbers computes."""
    model = resnet_cifar.CifarResNet(depths=(5,), num_classes=2)
    x = jnp.zeros((2, 16, 16, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)

    def loss(variables, x):
        return model.apply(variables, x)[0].sum()

    text = jax.jit(jax.grad(loss)).lower(variables, x).compile().as_text()
    parts = text.split("\n\n")
    return max(part.count(" maximum(") for part in parts if "fused" in part[:40])


def test_blocks_are_computed_once(monkeypatch):
    assert most_blocks_at_once() <= 2
    # If this fails, XLA has come to store them by itself: away with `stored`.
    monkeypatch.setattr(_primitive.stored_p, "bind", lambda x: x)
    monkeypatch.setattr(_stages, "stored", lambda x: x)
    assert most_blocks_at_once() > 2


def test_what_convolutions_read_is_stored_in_training_alone():
    x, kernel = jnp.zeros((2, 16, 16, 8)), jnp.zeros((3, 3, 8, 8))
    training = jax.make_jaxpr(lambda x, kernel: jax.vjp(ops.conv2d, x, kernel)[0])
    assert str(training(x, kernel)).count("cnnjax_stored") == 1
    assert "stored" not in str(jax.make_jaxpr(ops.conv2d)(x, kernel))


def test_storing_costs_nothing():
    def call(x):
        return jax.jvp(lambda x: ops.conv2d(x, kernel), (x,), (x,))[0]

    kernel, shape = jnp.ones((3, 3, 1, 1)), (1, 8, 8, 1)
    (field,) = cost.receptive_field(call, shape).values()
    assert field.size == (3, 3)
    assert cost.analyze(stored_p.bind, shape).rows[0].operations == {}
