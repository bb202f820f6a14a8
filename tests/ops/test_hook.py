"""Models that have never heard of cnnjax take its convolution, and become faster."""

import functools
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import jax_resnet
import numpy as np
import pytest
from flax import nnx

from cnnjax import ops


X = jnp.asarray(np.random.RandomState(0).randn(4, 28, 28, 16), jnp.float32)


class NnxNet(nnx.Module):
    """Depthwise separable, as anybody would write it: without a hook of its own."""

    def __init__(self, rngs):
        self.expand = nnx.Conv(16, 64, (1, 1), rngs=rngs)
        self.depthwise = nnx.Conv(64, 64, (5, 5), feature_group_count=64, rngs=rngs)

    def __call__(self, x):
        return self.depthwise(nnx.relu(self.expand(x)))


def faster(call, args, kwargs, context):
    """The README's example for Linen."""
    conv = context.module
    ours = type(conv) is nn.Conv and conv.conv_general_dilated is None
    if not ours or conv.is_initializing():
        return call(*args, **kwargs)
    fast = conv.clone(parent=None, conv_general_dilated=ops.conv_general_dilated)
    return fast.apply(conv.variables, *args, **kwargs)


class ByKeyword(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Conv(8, (3, 3))(inputs=x)


def hook(model):
    """The README's example for NNX."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv):
            module.conv_general_dilated = ops.conv_general_dilated


def test_linen_example_initialises_and_passes_keywords_on():
    model = ByKeyword()
    expected, variables = model.init_with_output(jax.random.key(0), X)
    with nn.intercept_methods(faster):
        y, ours = model.init_with_output(jax.random.key(0), X)
        applied = model.apply(variables, X)
    jax.tree.map(np.testing.assert_array_equal, ours, variables)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(applied, expected, atol=1e-5)


def assert_same_and_faster(slow, fast, *arguments):
    """Compares two compiled functions, run in turns."""
    runs = {"slow": slow, "fast": fast}
    a, b = (jax.block_until_ready(run(*arguments)) for run in runs.values())
    for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(u, v, rtol=0, atol=1e-5 * np.abs(v).max())
    times = {name: [] for name in runs}
    for _ in range(15):
        for name, run in runs.items():
            start = time.process_time()
            jax.block_until_ready(run(*arguments))
            times[name].append(time.process_time() - start)
    # The cores' time in this process, which other programs disturb least; measured for
    # ResNeSt-50: 0.70 to 0.74.
    # Medians: the system books some of a run's time to the next.
    assert np.median(times["fast"]) < 0.8 * np.median(times["slow"])


@pytest.fixture(scope="module")
def resnest():
    """Another project's ResNeSt-50, cut to two blocks."""
    model = jax_resnet.ResNeSt50(stage_sizes=(1, 1), n_classes=10)
    images = jnp.asarray(np.random.RandomState(1).randn(2, 96, 96, 3), jnp.float32)
    return model, jax.jit(model.init)(jax.random.key(0), images), images


@pytest.mark.timed
def test_linen_model_of_another_project(resnest):
    model, variables, images = resnest

    def fast(variables, x):
        with nn.intercept_methods(faster):
            return model.apply(variables, x)

    assert_same_and_faster(jax.jit(model.apply), jax.jit(fast), variables, images)

    def gradient(apply):
        return jax.jit(jax.grad(lambda variables, x: (apply(variables, x) ** 2).mean()))

    assert_same_and_faster(gradient(model.apply), gradient(fast), variables, images)


@pytest.mark.timed
def test_linen_with_the_hook():
    layer = functools.partial(nn.Conv, 64, (5, 5), feature_group_count=16)
    fast = layer(conv_general_dilated=ops.conv_general_dilated)
    variables = fast.init(jax.random.key(0), X)
    slow = jax.jit(layer().apply)
    assert_same_and_faster(slow, jax.jit(fast.apply), variables, X)


@pytest.mark.timed
def test_nnx():
    slow, fast = NnxNet(nnx.Rngs(0)), NnxNet(nnx.Rngs(0))
    hook(fast)
    call = nnx.jit(lambda model, x: model(x))
    assert_same_and_faster(
        functools.partial(call, slow), functools.partial(call, fast), X
    )


@pytest.mark.timed
def test_nnx_model_of_another_project():
    """Bonsai, JAX's own collection of NNX models, which is on GitHub alone.

    With a copy of https://github.com/jax-ml/bonsai in the path, this runs.
    """
    convnext = pytest.importorskip("bonsai.models.convnext.modeling")
    config = convnext.ModelConfig((1, 1, 1, 1), (32, 64, 96, 128), 0.0, 10)
    slow, fast = (convnext.ConvNeXt(config, rngs=nnx.Rngs(0)) for _ in range(2))
    hook(fast)
    call = nnx.jit(lambda model, x: model(x, rngs=jax.random.key(0)))
    images = jnp.asarray(np.random.RandomState(1).randn(2, 96, 96, 3), jnp.float32)
    with jax.numpy_rank_promotion("allow"):  # As its arithmetic needs it.
        assert_same_and_faster(
            functools.partial(call, slow), functools.partial(call, fast), images
        )
