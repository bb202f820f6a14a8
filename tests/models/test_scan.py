"""Networks whose blocks are alike: as a loop, and with stochastic depth."""

import dataclasses
import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_zoo import noise

import cnnjax
from cnnjax.models._stages import StagedClassifier
from cnnjax.models.convnext import ConvNeXt
from cnnjax.models.deit import DeiT
from cnnjax.models.efficientnet import EfficientNet, Stage
from cnnjax.models.fitnet import FitNet
from cnnjax.models.highway import Highway
from cnnjax.models.regnet import RegNet
from cnnjax.models.shufflenet_v1 import ShuffleNetV1
from cnnjax.models.swin import Swin
from cnnjax.models.vgg import VGG
from cnnjax.models.wide_resnet import WideResNet
from cnnjax.nn import DropPath


SMALL = {"num_classes": 3, "image_size": 16}
DROPPING = [
    ConvNeXt(depths=(3,), features=64, drop_path_rate=0.9, **SMALL),
    Swin(depths=(6,), features=64, heads=2, window=2, drop_path_rate=0.9, **SMALL),
    DeiT(depth=3, features=64, patch=8, drop_path_rate=0.9, **SMALL),
]
OTHERS = [
    EfficientNet(
        stages=(Stage(4, 3, 1, 8, 3),), stem_features=8, head_features=16, **SMALL
    ),
    FitNet(dims=((4,) * 3, (4, 4, 8, 8, 8), (4,)), hidden_features=8, **SMALL),
    Highway(depths=(5, 2, 2), dims=(4, 4, 4), hidden_features=8, **SMALL),
    # One stage of three blocks, as its width does not grow.
    RegNet(
        depth=3, w_0=8, w_a=0.0, w_m=2.0, group_width=4, squeeze_ratio=0.25, **SMALL
    ),
    ShuffleNetV1(groups=2, width=0.08, depths=(3,), **SMALL),
    VGG(
        depths=(1, 1, 4, 1, 1),
        dims=(4, 4, 8, 4, 4),
        batch_norm=True,
        hidden_features=8,
        **SMALL | {"image_size": 32},
    ),
    WideResNet(depth=22, width=1, **SMALL),
]


def parametrize(models):
    names = [type(model).__name__ for model in models]
    return pytest.mark.parametrize("model", models, ids=names)


def images(model):
    shape = (2, model.image_size, model.image_size, 3)
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


@parametrize(DROPPING + OTHERS)
def test_scanned_model_computes_the_same(model):
    """Without what is left out by chance, which a loop draws in another order."""
    rates = {f.name: 0.0 for f in dataclasses.fields(model) if "_rate" in f.name}
    model = model.clone(**rates, conv_general_dilated=jax.lax.conv_general_dilated)
    scanned = model.clone(scan=True, remat=True)
    variables = noise(model)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), images(model))
    rolled = cnnjax.weights.roll(variables, shapes)
    assert len(rolled["params"]) < len(variables["params"])

    def both(model, variables):
        (training, _), updates = model.apply(
            variables,
            images(model),
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(1)},
        )
        return model.apply(variables, images(model))[0], training, updates

    *expected, updates = jax.jit(functools.partial(both, model))(variables)
    *found, looped = jax.jit(functools.partial(both, scanned))(rolled)
    assert min(np.std(y) for y in expected) > 0
    for y, z in zip(expected, found, strict=True):
        np.testing.assert_allclose(z, y, rtol=0, atol=1e-5 * np.abs(y).max())
    chex.assert_trees_all_close(cnnjax.weights.unroll(looped), updates, rtol=1e-4)


@parametrize(DROPPING)
def test_blocks_are_left_out_the_more_the_later_they_are(model):
    rates = []

    def note(call, arguments, options, context):
        if isinstance(context.module, DropPath):
            rates.append(context.module.rate)
        return call(*arguments, **options)

    with nn.intercept_methods(note):
        jax.eval_shape(model.init, jax.random.key(0), images(model))
    blocks = 6 if isinstance(model, Swin) else 3
    expected = np.repeat(np.linspace(0, 0.9, blocks), len(rates) // blocks)
    np.testing.assert_allclose(rates, expected)


class AddRate(nn.Module):
    def __call__(self, x, rate):
        return 2 * x + rate


class Rates(StagedClassifier):
    @nn.compact
    def __call__(self, x, *, train=False):
        rates = [0.0, 0.25, 0.5, 0.75]
        return self.run_stage(x, 1, AddRate, [{}] * 4, rates)


@pytest.mark.parametrize("scan", [False, True])
def test_each_block_has_its_own_rate(scan):
    assert Rates(scan=scan).apply({}, jnp.ones(())) == 16 + 4 * 0.25 + 2 * 0.5 + 0.75
