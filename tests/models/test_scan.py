"""Networks whose blocks are alike: as a loop, and with stochastic depth."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.models._stages import StagedClassifier
from cnnjax.models.convnext import ConvNeXt
from cnnjax.models.deit import DeiT
from cnnjax.models.swin import Swin
from cnnjax.nn import DropPath


SMALL = {"features": 64, "num_classes": 3, "image_size": 16}
MODELS = [
    ConvNeXt(depths=(3,), drop_path_rate=0.9, **SMALL),
    Swin(depths=(6,), heads=2, window=2, drop_path_rate=0.9, **SMALL),
    DeiT(depth=3, patch=8, drop_path_rate=0.9, **SMALL),
]
every_model = pytest.mark.parametrize(
    "model", MODELS, ids=[type(m).__name__ for m in MODELS]
)


def images():
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(2, 16, 16, 3)), jnp.float32)


@every_model
def test_scanned_model_computes_the_same(model):
    """In inference; in training, what is left out is drawn in another way."""
    scanned = model.clone(scan=True, remat=True)
    rng = np.random.default_rng(0)
    variables, rolled = (
        jax.eval_shape(m.init, jax.random.key(0), images()) for m in (model, scanned)
    )
    variables = jax.tree.map(
        lambda a: (0.1 * rng.normal(size=a.shape)).astype(np.float32), variables
    )
    rolled = cnnjax.weights.roll(variables, rolled)
    assert "stage1_blocks2to3" in rolled["params"]

    def logits(model, variables):
        training = model.clone(drop_path_rate=0.0)
        rngs = {"dropout": jax.random.key(1)}
        return [
            model.apply(variables, images())[0],
            training.apply(variables, images(), train=True, rngs=rngs)[0],
        ]

    y = jax.jit(functools.partial(logits, model))(variables)
    z = jax.jit(functools.partial(logits, scanned))(rolled)
    np.testing.assert_allclose(y, z, rtol=0, atol=1e-5 * np.std(y))


@every_model
def test_blocks_are_left_out_the_more_the_later_they_are(model):
    rates = []

    def note(call, arguments, options, context):
        if isinstance(context.module, DropPath):
            rates.append(context.module.rate)
        return call(*arguments, **options)

    with nn.intercept_methods(note):
        jax.eval_shape(model.init, jax.random.key(0), images())
    blocks = 6 if isinstance(model, Swin) else 3
    expected = np.repeat(np.linspace(0, 0.9, blocks), len(rates) // blocks)
    np.testing.assert_allclose(rates, expected)


class AddRate(nn.Module):
    def __call__(self, x, rate):
        return 2 * x + rate


class Stage(StagedClassifier):
    @nn.compact
    def __call__(self, x, *, train=False):
        rates = [0.0, 0.25, 0.5, 0.75]
        return self.run_stage(x, 1, AddRate, [{}] * 4, rates)


@pytest.mark.parametrize("scan", [False, True])
def test_each_block_has_its_own_rate(scan):
    assert Stage(scan=scan).apply({}, jnp.ones(())) == 16 + 4 * 0.25 + 2 * 0.5 + 0.75
