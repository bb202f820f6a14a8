"""Optimisers do what their formula says; schedules reach their landmarks."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import errors
from cnnjax.train import create_optimizer, create_schedule


PARAMS = {"kernel": jnp.full((2, 2), 2.0), "scale": jnp.full(2, 3.0)}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_kernels_decay_and_by_the_rate_times_the_decay(name):
    tx = create_optimizer(
        name, learning_rate=optax.constant_schedule(0.5), weight_decay=0.1
    )
    zeros = {key: jnp.zeros_like(value) for key, value in PARAMS.items()}
    state = tx.init(PARAMS)
    for _ in range(2):  # Decoupled: the second step decays no more than the first.
        updates, state = tx.update(zeros, state, PARAMS)
        np.testing.assert_allclose(updates["kernel"], -0.5 * 0.1 * 2.0, rtol=1e-6)
        np.testing.assert_array_equal(updates["scale"], 0.0)


def test_sgd_is_nesterovs():
    tx = create_optimizer("sgd", learning_rate=optax.constant_schedule(0.1))
    gradient = {key: jnp.ones_like(value) for key, value in PARAMS.items()}
    state = tx.init(PARAMS)
    for expected in (1 + 0.9, 1 + 0.9 * 1.9):  # g + 0.9 m, with m = g + 0.9 m.
        updates, state = tx.update(gradient, state, PARAMS)
        np.testing.assert_allclose(updates["scale"], -0.1 * expected, rtol=1e-6)


def test_cosine_with_warm_up():
    rate = create_schedule("cosine", peak=0.4, num_steps=110, warmup_steps=10)
    found = [float(rate(step)) for step in (0, 5, 10, 60, 110)]
    np.testing.assert_allclose(found, [0.0, 0.2, 0.4, 0.2, 0.0], atol=1e-7)


def test_step_without_warm_up():
    rate = create_schedule("step", peak=1.0, num_steps=100)
    found = [float(rate(step)) for step in (0, 49, 51, 74, 76, 99)]
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_unknown_names_suggest_the_near_ones():
    with pytest.raises(errors.UserError, match=r"unknown optimizer 'sdg'.* sgd"):
        create_optimizer("sdg", learning_rate=optax.constant_schedule(0.1))
    with pytest.raises(errors.UserError, match=r"unknown schedule 'cosin'.* cosine"):
        create_schedule("cosin", peak=0.1, num_steps=1)


def test_a_warm_up_longer_than_the_run_is_an_error():
    with pytest.raises(errors.UserError, match="warm-up of 9 steps is longer"):
        create_schedule("cosine", peak=0.1, num_steps=8, warmup_steps=9)
