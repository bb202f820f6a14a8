"""One update must not depend on how many devices share it."""

import functools

import chex
import flax.jax_utils
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from cnnjax.models.resnet_cifar import CifarResNet
from cnnjax.train import eval_step, init_state, train_step


KEY = jax.random.key(0)
TX = optax.sgd(0.1, momentum=0.9)
BATCH = {
    "image": jax.random.normal(KEY, (8, 8, 8, 3)),
    "label": jnp.arange(8) % 4,
}


def build(axis_name=None):
    model = CifarResNet(depths=(1, 1, 1), num_classes=4, axis_name=axis_name)
    state = jax.jit(functools.partial(init_state, model, TX))(KEY, BATCH["image"])
    return functools.partial(train_step, model, TX, axis_name=axis_name), state


@pytest.fixture(scope="module")
def expected():
    step, state = build()
    return jax.device_get(jax.jit(step)(state, BATCH, KEY))


def assert_close(actual, expected):
    chex.assert_trees_all_close(jax.device_get(actual), expected, rtol=1e-4, atol=1e-5)


def test_jit_over_sharded_batch(expected):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    batch = jax.device_put(BATCH, NamedSharding(mesh, PartitionSpec("batch")))
    step, state = build()
    state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    assert_close(jax.jit(step, donate_argnums=0)(state, batch, KEY), expected)


def test_pmap(expected):
    step, state = build(axis_name="batch")
    batch = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), BATCH)
    mapped = jax.pmap(step, axis_name="batch", in_axes=(0, 0, None))
    actual = mapped(flax.jax_utils.replicate(state), batch, KEY)
    assert_close(jax.tree.map(lambda x: x[0], jax.device_get(actual)), expected)


def test_shard_map(expected):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    step, state = build(axis_name="batch")
    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec("batch"), PartitionSpec()),
        out_specs=PartitionSpec(),
    )
    assert_close(jax.jit(mapped)(state, BATCH, KEY), expected)


def test_loss_falls_on_one_batch():
    step, state = build()
    step = jax.jit(step)
    losses = []
    for _ in range(10):
        state, metrics = step(state, BATCH, KEY)
        losses.append(metrics["loss"])
    assert int(state.step) == 10
    assert losses[-1] < 0.5 * losses[0]


def test_metrics_are_those_before_the_update(expected):
    _, state = build()
    model = CifarResNet(depths=(1, 1, 1), num_classes=4)
    (logits, _), _ = model.apply(
        {"params": state.params, "batch_stats": state.batch_stats},
        BATCH["image"],
        train=True,
        mutable=["batch_stats"],
    )
    correct = np.argmax(logits, axis=-1) == BATCH["label"]
    log_p = jax.nn.log_softmax(logits)
    loss = -np.mean([log_p[i, label] for i, label in enumerate(BATCH["label"])])
    metrics = expected[1]
    np.testing.assert_allclose(metrics["accuracy"], np.mean(correct))
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)


def test_evaluation_ignores_masked_images():
    _, state = build()
    model = CifarResNet(depths=(1, 1, 1), num_classes=4)
    evaluate = jax.jit(functools.partial(eval_step, model))
    mask = jnp.arange(8) < 5
    metrics, logits = evaluate(state, BATCH | {"mask": mask})
    assert float(metrics["loss"].count) == float(metrics["accuracy"].count) == 5
    correct = np.argmax(logits[:5], axis=-1) == BATCH["label"][:5]
    np.testing.assert_allclose(metrics["accuracy"].compute(), np.mean(correct))
    spoiled = jnp.where(mask[:, None, None, None], BATCH["image"], jnp.nan)
    again, _ = evaluate(state, BATCH | {"image": spoiled, "mask": mask})
    chex.assert_trees_all_close(again, metrics)


def test_evaluation_sums_over_an_axis():
    _, state = build()
    batch = BATCH | {"mask": jnp.arange(8) != 3}
    model = CifarResNet(depths=(1, 1, 1), num_classes=4)
    whole, _ = jax.jit(functools.partial(eval_step, model))(state, batch)
    halves = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), batch)
    step = functools.partial(eval_step, model, axis_name="batch")
    parts, _ = jax.pmap(step, axis_name="batch", in_axes=(None, 0))(state, halves)
    first = jax.tree.map(lambda x: x[0], jax.device_get(parts))
    chex.assert_trees_all_close(first, jax.device_get(whole), rtol=1e-5)
