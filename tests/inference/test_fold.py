"""Folding keeps what a model computes, and takes its statistics away."""

import functools
import logging

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import TINY
from jax import lax

import cnnjax
from cnnjax import errors, inference
from cnnjax.detection import Detector
from cnnjax.nn import ConvTranspose, DeformConv


norm = functools.partial(nn.BatchNorm, use_running_average=True)


def randomised(variables, seed=0):
    """Returns variables like those of a trained model."""
    rng = np.random.default_rng(seed)
    ways = {
        "mean": lambda shape: rng.normal(0, 0.3, shape),
        "var": lambda shape: rng.uniform(0.5, 2, shape),
        "scale": lambda shape: rng.uniform(0.5, 1.5, shape),
        "bias": lambda shape: rng.normal(0, 0.1, shape),
        "kernel": lambda shape: rng.normal(0, np.prod(shape[-4:-1]) ** -0.5, shape),
    }

    def fill(path, leaf):
        way = ways.get(path[-1].key)
        return leaf if way is None else jnp.asarray(way(leaf.shape), leaf.dtype)

    return jax.tree.map_with_path(fill, variables)


def prepared(model, shape, **options):
    """Returns random images and variables of a model."""
    images = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)
    shapes = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, **options), images
    )
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return images, randomised(zeros)


def fold(model, shape, jit=jax.jit, **options):
    """Folds a model with random variables, and checks that it computes the same."""
    images, variables = prepared(model, shape, **options)
    fast, folded = inference.fold_batch_norm(model, variables, shape, **options)
    expected = jit(model.apply)(variables, images, **options)
    found = jit(fast.apply)(folded, images, **options)
    if isinstance(model, Detector):  # Which boxes stay may hang on the last bit.
        found, expected = features(found[1]), features(expected[1])
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        scale = jnp.abs(other).max()
        np.testing.assert_allclose(one / scale, other / scale, atol=1e-5)
    return fast, folded


def features(endpoints):
    return {k: x for k, x in endpoints.items() if k.startswith("feature_")}


def terms(fast):
    return {fate.norm: fate.terms for fate in fast.fates}


class Net(nn.Module):
    """One layer of a kind, a norm, and something after it."""

    layer: nn.Module
    norm: nn.Module

    @nn.compact
    def __call__(self, x):
        return nn.relu(self.norm(self.layer(x))) + 1


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        functools.partial(nn.Conv, 6, (3, 3)),
        functools.partial(nn.Conv, 6, (3, 3), padding="CIRCULAR"),
        functools.partial(nn.Conv, 6, (3, 3), feature_group_count=2),
        functools.partial(nn.Conv, 6, (3, 3), mask=jnp.ones((3, 3, 4, 6)).at[1].set(0)),
        functools.partial(nn.Dense, 6),
        functools.partial(nn.ConvTranspose, 6, (2, 2), (2, 2)),
        functools.partial(nn.ConvTranspose, 6, (2, 2), transpose_kernel=True),
        functools.partial(ConvTranspose, 6, (3, 3), (2, 2)),
        functools.partial(ConvTranspose, 6, (3, 3), feature_group_count=2),
        functools.partial(DeformConv, 6, (3, 3)),
        functools.partial(
            nn.Conv, 6, (3, 3), conv_general_dilated=cnnjax.ops.conv_general_dilated
        ),
    ],
)
def test_every_linear_layer_takes_the_norm_in(layer, use_bias):
    fast, folded = fold(Net(layer(use_bias=use_bias), norm()), (2, 5, 5, 4))
    assert terms(fast) == {"norm": () if use_bias else ("bias",)}
    assert "batch_stats" not in folded
    assert ("norm" in folded["params"]) == (not use_bias)
    assert str(fast.fates) == "norm: folded into layer"


@pytest.mark.parametrize("parts", [{}, {"use_scale": False}, {"use_bias": False}])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_a_norm_lacks_what_it_likes(parts, epsilon):
    layer = nn.Conv(6, (3, 3))
    fold(Net(layer, norm(epsilon=epsilon, **parts)), (1, 5, 5, 4))
    fast, folded = fold(
        Net(nn.Dropout(0.0, deterministic=True), norm(**parts)), (1, 5, 5, 4)
    )
    assert terms(fast) == {"norm": ("scale", "bias")}
    assert {*folded["params"]["norm"]} == {"scale", "bias"}


@pytest.mark.parametrize(
    "name, options, multiplied",
    [
        ("resnet20_cifar", {}, 0),
        ("resnet20_cifar", {"scan": True}, 0),
        ("resnet20_cifar", {"remat": True}, 0),
        ("wrn_16_8_cifar", {}, 7),  # Of sums, and of the stem, which a shortcut takes.
        ("shiftresnet20_cifar", {}, 0),
    ],
)
def test_networks_lose_their_statistics(name, options, multiplied):
    model = cnnjax.create(name, num_classes=3, **options)
    fast, folded = fold(model, (1, 8, 8, 3))
    assert {*folded} == {"params"}
    assert list(terms(fast).values()).count(("scale", "bias")) == multiplied


class TwoUses(nn.Module):
    """A convolution whose output, or kernel, or which itself is used twice."""

    kind: str

    @nn.compact
    def __call__(self, x):
        conv, bn = nn.Conv(4, (1, 1), name="conv"), norm(name="bn")
        y = conv(x)
        if self.kind == "output":
            return bn(y) + y
        if self.kind == "kernel":
            return bn(y) + conv.variables["params"]["kernel"].sum()
        if self.kind == "layer":
            return bn(y) + conv(2 * x)
        if self.kind == "two norms":
            return bn(y) + norm(name="bn2")(conv(2 * x))
        return bn(y) + bn(2 * x)


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("output", "the output of conv is used elsewhere"),
        ("kernel", "the kernel of conv is used elsewhere"),
        ("layer", "the kernel of conv is used elsewhere"),
        ("two norms", "the kernel of conv is used elsewhere"),
        ("norm", "it is called more than once"),
    ],
)
def test_a_norm_is_not_folded_where_others_would_see_it(kind, reason):
    fast, folded = fold(TwoUses(kind), (1, 5, 5, 4))
    assert terms(fast)["bn"] == ("scale", "bias")
    assert reason in str(fast.fates)
    assert "batch_stats" not in folded


def normalised_conv(x, kernel, *args, **kwargs):
    kernel = kernel / jnp.sqrt((kernel**2).sum((0, 1, 2), keepdims=True))
    return lax.conv_general_dilated(x, kernel, *args, **kwargs)


def binary_conv(x, kernel, *args, **kwargs):
    return lax.conv_general_dilated(x, jnp.sign(kernel), *args, **kwargs)


@pytest.mark.parametrize(
    "layer, reason",
    [
        (nn.Conv(4, (3, 3), conv_general_dilated=normalised_conv), "elsewhere, too"),
        (nn.Conv(4, (3, 3), conv_general_dilated=binary_conv), "changes its kernel"),
        (nn.WeightNorm(nn.Conv(4, (3, 3))), "elsewhere, too"),
        (
            nn.WeightNorm(nn.Conv(4, (3, 3)), variable_filter={"bias"}),
            "are computed from others",
        ),
    ],
)
def test_a_kernel_that_is_computed_stays(layer, reason):
    fast, _ = fold(Net(layer, norm()), (1, 5, 5, 4))
    assert terms(fast) == {"norm": ("scale", "bias")}
    assert reason in str(fast.fates)


def test_a_norm_of_other_axes_becomes_a_multiply_add():
    fast, _ = fold(Net(nn.Conv(4, (3, 3)), norm(axis=1)), (1, 5, 6, 4))
    assert "its features are not on the last axis" in str(fast.fates)
    fast, _ = fold(Net(nn.Conv(4, (3, 3)), norm(axis=3)), (1, 5, 6, 4))
    assert str(fast.fates) == "norm: folded into layer"


def test_half_precision_keeps_its_dtype():
    layer = nn.Conv(4, (3, 3), dtype=jnp.bfloat16)
    model = Net(layer, norm(dtype=jnp.bfloat16))
    images, variables = prepared(model, (1, 5, 5, 4))
    fast, folded = inference.fold_batch_norm(model, variables, images.shape)
    expected, found = model.apply(variables, images), fast.apply(folded, images)
    assert found.dtype == expected.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        *(y.astype(jnp.float32) for y in (found, expected)), atol=0.05
    )


class UsersOwn(nn.Module):
    """As somebody would write it who has never heard of folding."""

    @nn.compact
    def __call__(self, x, train=False):
        for features in (4, 8):
            shortcut = nn.Conv(features, (1, 1))(x)
            x = nn.Conv(features, (3, 3), use_bias=False)(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            x = nn.relu(x) + nn.BatchNorm(use_running_average=not train)(shortcut)
        return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x.mean((1, 2))))


def test_a_users_model_is_folded():
    fast, folded = fold(UsersOwn(), (2, 6, 6, 3))
    assert list(terms(fast).values()) == [
        ("bias",),
        (),
        ("bias",),
        (),
        ("scale", "bias"),
    ]
    assert {*folded} == {"params"}
    with pytest.raises(ValueError, match="BatchNorm_0 is folded and cannot be trained"):
        fast.apply(folded, jnp.ones((2, 6, 6, 3)), train=True)


def test_folded_models_have_shapes_and_can_be_folded_again():
    fast, folded = fold(UsersOwn(), (2, 6, 6, 3))
    shapes = jax.eval_shape(fast.init, jax.random.key(0), jnp.ones((2, 6, 6, 3)))
    assert jax.tree.structure(shapes) == jax.tree.structure(folded)
    again, same = inference.fold_batch_norm(fast, folded, (2, 6, 6, 3))
    assert again is fast and same.keys() == folded.keys()


def test_a_model_in_training_is_left_alone_and_reported(caplog):
    _, variables = prepared(UsersOwn(), (2, 6, 6, 3))
    with caplog.at_level(logging.WARNING, "cnnjax"):
        fast, same = inference.fold_batch_norm(
            UsersOwn(), variables, (2, 6, 6, 3), train=True
        )
    assert isinstance(fast, UsersOwn)
    assert jax.tree.structure(same) == jax.tree.structure(variables)
    assert "BatchNorm_0: left as it was: it is trained" in caplog.text


def test_a_model_without_norms_comes_back():
    model = nn.Sequential([nn.Conv(3, (3, 3)), nn.relu])
    images, variables = prepared(model, (1, 4, 4, 3))
    fast, same = inference.fold_batch_norm(model, variables, images.shape)
    assert fast is model and same == variables


def test_the_cost_that_vanishes_is_the_norms():
    model = cnnjax.create("mobilenet_v2", num_classes=10)
    _, variables = prepared(model, (1, 32, 32, 3))
    fast, folded = inference.fold_batch_norm(model, variables, (1, 32, 32, 3))
    before = cnnjax.cost.analyze(model, (1, 32, 32, 3))
    after = cnnjax.cost.analyze(fast, (1, 32, 32, 3))
    assert before.macs == after.macs
    kept = sum(leaf.size for leaf in jax.tree.leaves(folded))
    channels = sum(leaf.size for leaf in jax.tree.leaves(variables["batch_stats"])) // 2
    assert before.num_params - after.num_params == channels  # The scales are gone.
    assert after.num_params == kept


def test_variables_of_another_model_are_refused():
    _, variables = prepared(cnnjax.create("resnet20_cifar"), (1, 8, 8, 3))
    other = cnnjax.create("resnet32_cifar")
    with pytest.raises(errors.UserError, match=r"missing .*stage1_block4") as error:
        inference.fold_batch_norm(other, variables, (1, 8, 8, 3))
    assert "these are no variables of" in str(error.value)
    with pytest.raises(errors.UserError, match="unexpected batch_stats/stage"):
        inference.fold_batch_norm(
            cnnjax.create("resnet20_cifar"),
            prepared(other, (1, 8, 8, 3))[1],
            (1, 8, 8, 3),
        )


@functools.cache
def shapes_of(name):
    model = cnnjax.create(name)
    images = jax.ShapeDtypeStruct((1, *[model.image_size] * 2, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


# How many norms stay as a multiply-add: of sums, and of what is concatenated.
KEPT = {"densenet-bottleneck": 9, "densenet-basic": 9, "wide_resnet-dropout": 4}
KEPT |= {"shiftnet-concatenate": 3, "shiftnet-add": 3}


@pytest.mark.parametrize("name", TINY)
def test_each_family_folds(name):
    model = TINY[name]
    shape = (1, model.image_size, model.image_size, 3)
    _, variables = prepared(model, shape)
    fast, folded = inference.fold_batch_norm(model, variables, shape)
    assert {*folded} == {"params"}
    if "batch_stats" in variables:
        found = [*terms(fast).values()]
        assert found.count(("scale", "bias")) == KEPT.get(name, 0)
        assert {*found} <= {(), ("bias",), ("scale", "bias")}
    else:
        assert fast is model


@pytest.mark.slow
@pytest.mark.parametrize("name", cnnjax.list_models())
def test_every_architecture_is_folded(name):
    if "batch_stats" not in shapes_of(name):
        return
    model = cnnjax.create(name, num_classes=10)
    side = min(model.image_size, 64)
    # One operation after the other: XLA takes long for programs of up to 1,202 layers.
    _, folded = fold(model, (1, side, side, 3), jit=lambda apply: apply)
    assert "batch_stats" not in folded
