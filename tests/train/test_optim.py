"""Optimisers do what their formula says; schedules reach their landmarks."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax import errors
from cnnjax.train import create_optimizer, create_schedule
from cnnjax.train.optim import decay_mask


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


def test_linear():
    rate = create_schedule("linear", peak=0.4, num_steps=10)
    np.testing.assert_allclose([float(rate(i)) for i in (0, 5, 10)], [0.4, 0.2, 0])


def updates(name, gradient, steps=1, **options):
    tx = create_optimizer(name, learning_rate=optax.constant_schedule(0.1), **options)
    state = tx.init(PARAMS)
    for _ in range(steps):
        found, state = tx.update(gradient, state, PARAMS)
    return found


ONES = {key: jnp.ones_like(value) for key, value in PARAMS.items()}


def test_momentum_decays_through_the_gradient():
    found = updates("momentum", ONES, steps=2, weight_decay=0.1)
    for name, gradient in (("kernel", 1 + 0.1 * 2), ("scale", 1)):
        np.testing.assert_allclose(found[name], -0.1 * gradient * 1.9, rtol=1e-6)


def test_rmsprop():
    found = updates("rmsprop", ONES, momentum=0.0)["scale"]
    mean_square = 0.9 * 1 + 0.1 * 1
    np.testing.assert_allclose(found, -0.1 / np.sqrt(mean_square + 1e-3), rtol=1e-5)


def test_lars_scales_by_the_norms():
    found = updates("lars", ONES, momentum=0.0)
    ratio = 0.001 * np.linalg.norm(np.full(4, 2)) / np.linalg.norm(np.ones(4))
    np.testing.assert_allclose(found["kernel"], -0.1 * ratio, rtol=1e-5)
    np.testing.assert_allclose(found["scale"], -0.1, rtol=1e-5)  # Not of norms.


def test_lamb_scales_adams_update_by_the_norms():
    found = updates("lamb", ONES)["kernel"]
    np.testing.assert_allclose(np.linalg.norm(found), 0.1 * 4, rtol=1e-4)


@pytest.mark.parametrize("clip_norm, expected", [(0.0, 1.0), (9.0, 1.0), (0.6, None)])
def test_clipping(clip_norm, expected):
    found = updates("sgd", ONES, momentum=0.0, clip_norm=clip_norm)
    expected = expected or 0.6 / np.sqrt(6)
    np.testing.assert_allclose(found["kernel"], -0.1 * expected, rtol=1e-6)


@pytest.mark.parametrize("wrapper", [None, "backbone", "student"])
def test_layers_farther_from_the_head_change_less(wrapper):
    names = ["stem", "stage1_block1", "stage1_block2", "stage2_downsample"]
    names += ["stage2_block1", "head"]
    params = {name: {"bias": jnp.ones(2)} for name in names}
    params["stage2_blocks2to3"] = {"bias": jnp.ones((2, 5))}
    tx = create_optimizer(
        "sgd",
        learning_rate=optax.constant_schedule(1.0),
        momentum=0.0,
        layer_decay=0.5,
    )
    tree = params if wrapper is None else {wrapper: params, "fpn": params["head"]}
    found, _ = tx.update(tree, tx.init(tree), tree)
    if wrapper is not None:  # What stands on the blocks changes as the head does.
        np.testing.assert_allclose(found["fpn"]["bias"], -1)
        found = found[wrapper]
    powers = {name: np.log2(-found[name]["bias"][..., 0]) for name in params}
    expected = {"stem": -6, "stage1_block1": -5, "stage1_block2": -4, "head": 0}
    expected |= {"stage2_downsample": -3, "stage2_block1": -3}
    for name, power in expected.items():
        np.testing.assert_allclose(powers[name], power)
    np.testing.assert_allclose(powers["stage2_blocks2to3"], [-2, -1])


def test_stacked_norms_and_positions_do_not_decay():
    mask = decay_mask(
        {
            "blocks": {"scale": jnp.ones((3, 4)), "bias": jnp.ones((3, 4))},
            "dense": {"kernel": jnp.ones((3, 4))},
            "class_token": jnp.ones((1, 1, 4)),
        }
    )
    assert mask == {
        "blocks": {"scale": False, "bias": False},
        "dense": {"kernel": True},
        "class_token": False,
    }


def test_drops_and_exponential_decay():
    drops = create_schedule(
        "step", peak=1.0, num_steps=100, drop_at=(0.3, 0.6, 0.8), drop_factor=0.2
    )
    found = [float(drops(step)) for step in (0, 29, 31, 59, 61, 81, 99)]
    np.testing.assert_allclose(found, [1, 1, 0.2, 0.2, 0.04, 0.008, 0.008], rtol=1e-5)
    decay = create_schedule(
        "exponential", peak=2.0, num_steps=110, warmup_steps=10, drop_factor=0.01
    )
    found = [float(decay(step)) for step in (0, 5, 10, 60, 110)]
    np.testing.assert_allclose(found, [0, 1, 2, 0.2, 0.02], rtol=1e-5)


@pytest.mark.parametrize("options", [{"drop_at": (1.5,)}, {"drop_factor": 0.0}])
def test_drops_that_cannot_be(options):
    with pytest.raises(errors.UserError, match="cannot drop at"):
        create_schedule("step", peak=1.0, num_steps=10, **options)


def test_nesterov_couples_the_decay():
    tx = create_optimizer(
        "nesterov", learning_rate=optax.constant_schedule(0.5), weight_decay=0.1
    )
    zeros = {key: jnp.zeros_like(value) for key, value in PARAMS.items()}
    updates, state = tx.update(zeros, tx.init(PARAMS), PARAMS)
    # The decay goes through the momentum: g + 0.9 g at first, then 1 + 0.9 + 0.81.
    np.testing.assert_allclose(updates["kernel"], -0.5 * 1.9 * 0.2, rtol=1e-6)
    updates, _ = tx.update(zeros, state, PARAMS)
    np.testing.assert_allclose(updates["kernel"], -0.5 * 2.71 * 0.2, rtol=1e-6)
    np.testing.assert_array_equal(updates["scale"], 0.0)
