"""Training and evaluation where each pixel has a class."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from cnnjax import losses
from cnnjax.train import eval_pixels, init_state, train_step


CLASSES, IGNORED = 3, 255
TX = optax.sgd(0.1)
KEY = jax.random.key(0)
LOSS = losses.create("cross_entropy+dice", num_classes=CLASSES, ignore_index=IGNORED)


class PerPixel(nn.Module):
    """Logits of the pixels, which depend on their neighbours."""

    @nn.compact
    def __call__(self, image, *, train=False):
        x = nn.Conv(8, (3, 3))(image)
        x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Conv(CLASSES, (1, 1))(nn.relu(x)), {}


@pytest.fixture(scope="module")
def batch():
    random = np.random.RandomState(0)
    label = random.randint(CLASSES, size=(4, 6, 5))
    label[0, :2] = IGNORED
    return {
        "image": jnp.array(random.randn(4, 6, 5, 2), jnp.float32),
        "label": jnp.array(label, jnp.int32),
        "mask": jnp.array([True, True, True, False]),
    }


@pytest.fixture(scope="module")
def state(batch):
    init = functools.partial(init_state, PerPixel(), TX)
    return jax.jit(init)(KEY, batch["image"])


@pytest.fixture(scope="module")
def step():
    return jax.jit(functools.partial(train_step, PerPixel(), TX, loss=LOSS))


def test_a_step_learns_from_the_pixels_that_count(batch, state, step):
    updated, metrics = step(state, batch, KEY)
    (logits, _), _ = PerPixel().apply(
        {"params": state.params, "batch_stats": state.batch_stats},
        batch["image"],
        train=True,
        mutable=["batch_stats"],
    )
    assert metrics["loss"] == pytest.approx(LOSS(logits, batch["label"]).mean())
    label = np.asarray(batch["label"])
    hits = (np.argmax(np.asarray(logits), -1) == label)[label != IGNORED]
    assert metrics["accuracy"] == pytest.approx(hits.mean())
    for _ in range(20):
        updated, metrics = step(updated, batch, KEY)
    assert metrics["loss"] < LOSS(logits, batch["label"]).mean()


def test_two_devices_agree_with_one(batch, state, step):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    halves = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("batch")))
    everywhere = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    alone, together = step(state, batch, KEY), step(everywhere, halves, KEY)
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_evaluation_counts_pixels_of_the_images_that_count(batch, state):
    evaluate = functools.partial(
        eval_pixels, PerPixel(), state, loss=LOSS, ignore_index=IGNORED
    )
    metrics, logits = jax.jit(evaluate)(batch)
    label = np.asarray(batch["label"])
    predictions = np.argmax(np.asarray(logits), axis=-1)
    counted = (label != IGNORED) & np.asarray(batch["mask"])[:, None, None]
    hits = predictions[counted] == label[counted]
    assert metrics["accuracy"].compute() == pytest.approx(hits.mean())
    values = np.asarray(LOSS(logits, batch["label"]))[:3]
    assert metrics["loss"].compute() == pytest.approx(values.mean(), rel=1e-6)
    iou = [
        np.sum((predictions == k) & (label == k) & counted)
        / np.sum(((predictions == k) | (label == k)) & counted)
        for k in range(CLASSES)
    ]
    assert metrics["mean_iou"].compute() == pytest.approx(np.mean(iou))


def test_parts_of_a_split_add_up_over_devices(batch, state):
    evaluate = functools.partial(
        eval_pixels, PerPixel(), loss=LOSS, ignore_index=IGNORED
    )
    whole, _ = jax.jit(evaluate)(state, batch)
    halves = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), batch)
    mapped = jax.vmap(
        functools.partial(evaluate, axis_name="parts"), (None, 0), axis_name="parts"
    )
    parts, _ = mapped(state, halves)
    for name, metric in whole.items():
        part = jax.tree.map(lambda x: x[0], parts[name])
        assert part.compute() == pytest.approx(metric.compute(), rel=1e-6)
