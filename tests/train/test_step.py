"""One update must not depend on how many devices share it."""

import functools

import chex
import flax.jax_utils
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from cnnjax.models.resnet_cifar import CifarResNet
from cnnjax.train import eval_step, init_state, parallel, train_step


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


class Probe(nn.Module):
    """A network with a LayerNorm, whose images alone decide about the gradient."""

    @nn.compact
    def __call__(self, image, *, train=False):
        x = nn.LayerNorm()(nn.Dense(8)(image.reshape(len(image), -1)))
        return nn.Dense(4)(nn.gelu(x)), {}


def probe(**options):
    """Returns the state and metrics after one step, and the state before it."""
    state = init_state(Probe(), TX, KEY, BATCH["image"], ema="ema_decay" in options)
    step = jax.jit(functools.partial(train_step, Probe(), TX, **options))
    return step(state, BATCH, KEY), state


def test_parts_of_a_batch_equal_the_batch():
    whole, _ = probe()
    for count in (2, 4, 8):
        parts, _ = probe(micro_batches=count)
        chex.assert_trees_all_close(parts, whole, atol=1e-6)


def test_parts_of_a_batch_on_several_devices(expected):
    """Each device takes its images in parts; BatchNorm sees a part of each."""
    model = CifarResNet(depths=(1, 1, 1), num_classes=4)
    found = []
    for way in ("sharded", "shard_map"):
        strategy = parallel.create_strategy(way)
        local = model.clone(axis_name=strategy.axis_name)
        step = functools.partial(
            train_step, local, TX, axis_name=strategy.axis_name, micro_batches=2
        )
        placed = strategy.place(build()[1])
        run = strategy.compile(step, placed)
        found.append(run(placed, strategy.shard(jax.device_get(BATCH)), KEY))
    assert_close(found[0], jax.device_get(found[1]))


def test_parts_of_a_batch_with_statistics_of_each_device():
    """Of two parts of two devices each, as one device would have them, averaged."""
    strategy = parallel.create_strategy("shard_map")
    step, state = build()  # No axis: each device normalises by its own images.
    step = functools.partial(step, axis_name="batch", micro_batches=2)
    placed = strategy.place(state)
    batch = strategy.shard(jax.device_get(BATCH))
    found, metrics = strategy.compile(step, placed)(placed, batch, KEY)
    assert np.isfinite(metrics["loss"])
    before, after = state.batch_stats, jax.device_get(found.batch_stats)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(before, after)


def test_label_smoothing():
    _, metrics = probe(label_smoothing=0.1)[0]
    (_, plain), state = probe()
    logits, _ = Probe().apply({"params": state.params}, BATCH["image"])
    uniform = -jax.nn.log_softmax(logits).mean()
    expected = 0.9 * plain["loss"] + 0.1 * uniform
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)


def test_labels_as_shares():
    def mix(batch, key):
        del key
        return batch | {"label": jax.nn.one_hot(batch["label"], 4)}

    chex.assert_trees_all_close(probe(mix=mix)[0], probe()[0], atol=1e-6)


def test_running_average_of_the_parameters():
    (state, _), before = probe(ema_decay=0.9)
    expected = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, before.params, state.params)
    chex.assert_trees_all_close(state.ema_params, expected, atol=1e-6)
    assert state.eval_params is state.ema_params
    batch = BATCH | {"mask": jnp.ones(8, bool)}
    _, logits = eval_step(Probe(), state, batch)
    averaged, _ = Probe().apply({"params": expected}, BATCH["image"])
    np.testing.assert_allclose(logits, averaged, atol=1e-5)


def test_without_an_average_the_parameters_are_evaluated():
    (state, _), _ = probe()
    assert state.ema_params == {} and state.eval_params is state.params


def test_binary_cross_entropy():
    _, metrics = probe(loss=optax.sigmoid_binary_cross_entropy)[0]
    _, state = probe()
    logits, _ = Probe().apply({"params": state.params}, BATCH["image"])
    labels = np.eye(4)[BATCH["label"]]
    p = jax.nn.sigmoid(logits)
    expected = -(labels * jnp.log(p) + (1 - labels) * jnp.log(1 - p)).mean()
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)


class Half(nn.Module):
    """Computes in float16; the factor is that of what comes back into float16."""

    factor: float

    @nn.compact
    def __call__(self, image, *, train=False):
        x = nn.Dense(4, dtype=jnp.float16)(image.reshape(len(image), -1))
        return self.factor * x.astype(jnp.float32), {}


def half(factor, loss_scale, **options):
    model = Half(factor)
    state = init_state(model, TX, KEY, BATCH["image"], loss_scale=loss_scale)
    return state, jax.jit(functools.partial(train_step, model, TX, **options))


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_the_loss_scale_saves_small_gradients(micro_batches):
    found = {}
    for loss_scale in (False, True):
        state, step = half(1e-7, loss_scale, micro_batches=micro_batches)
        found[loss_scale] = step(state, BATCH, KEY)
    assert float(found[False][1]["grad_norm"]) == 0
    # Without float16 in between: the gradient of the mean, times the factor.
    logits, _ = Half(1e-7).apply({"params": state.params}, BATCH["image"])
    g = (jax.nn.softmax(logits) - jax.nn.one_hot(BATCH["label"], 4)) / 8 * 1e-7
    kernel = BATCH["image"].reshape(8, -1).T @ g
    expected = np.sqrt((kernel**2).sum() + (g.sum(0) ** 2).sum())
    np.testing.assert_allclose(found[True][1]["grad_norm"], expected, rtol=0.01)
    assert float(found[True][1]["loss_scale"]) == 2**16


@pytest.mark.parametrize("way", ["sharded", "shard_map"])
def test_a_gradient_that_overflows_is_left_out(way):
    """On one device is enough; the scale falls until the gradient fits."""
    strategy = parallel.create_strategy(way)
    state, _ = half(1e3, True)
    pure = functools.partial(
        train_step, Half(1e3), TX, axis_name=strategy.axis_name, ema_decay=0.5
    )
    placed = strategy.place(state)
    step = strategy.compile(pure, placed)
    image = np.zeros((8, 8, 8, 3), np.float32)
    image[-1] = 1  # The only one whose gradient is not 0.
    batch = {"image": image, "label": np.zeros(8, np.int32)}
    for i in range(1, 30):
        placed, metrics = step(placed, strategy.shard(batch), KEY)
        assert int(placed.step) == i
        if metrics["grad_norm"]:
            break
        assert float(metrics["loss_scale"]) == 2**16 / 2**i
        chex.assert_trees_all_equal(placed.params, state.params)
        chex.assert_trees_all_equal(placed.opt_state, state.opt_state)
    assert 3 < i < 29 and np.isfinite(metrics["grad_norm"])
    assert float(metrics["loss_scale"]) == 2**16 / 2 ** (i - 1)


@pytest.mark.parametrize("cast", [True, False])
def test_the_trap_of_shard_map(cast, monkeypatch):
    """With its check of replication on, `grad` sums over devices by itself.

    Averaging such a gradient again does nothing, without an error: it is as many times
    too long as there are devices. The step casts the parameters first.
    """
    if not cast:
        monkeypatch.setattr(jax.lax, "pcast", lambda x, *_, **__: x)
    strategy = parallel.create_strategy("shard_map")
    placed = strategy.place(init_state(Probe(), TX, KEY, BATCH["image"]))
    step = functools.partial(train_step, Probe(), TX, axis_name=strategy.axis_name)
    batch = strategy.shard(jax.device_get(BATCH))
    found, metrics = strategy.compile(step, placed)(placed, batch, KEY)
    (state, expected), _ = probe()
    if cast:
        assert_close((found, metrics), jax.device_get((state, expected)))
    else:
        ratio = float(metrics["grad_norm"] / expected["grad_norm"])
        assert ratio == pytest.approx(2, rel=1e-3)
