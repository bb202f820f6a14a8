"""What holds for every architecture; `families/` has counts and tiny instances."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import FAMILIES, NUM_PARAMS, TINY, family_of

import cnnjax
from cnnjax import registry
from cnnjax.models import BackboneNetwork, Classifier
from cnnjax.models._stages import StagedClassifier


every_tiny = pytest.mark.parametrize("model", TINY.values(), ids=TINY)
# Their gradients take longest to compile.
FIRST = {f"{family}-{next(iter(module.TINY))}" for family, module in FAMILIES.items()}
QUICK = FIRST - {"swin-padded", "deeplabv3plus-dilated", "densenet-bottleneck"}
QUICK -= {"efficientnet_v2-blocks", "efficientnet_lite-blocks", "mobilenet_v3-blocks"}


def images(model, n=2):
    shape = (n, model.image_size, model.image_size, 3)
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def shapes(model):
    image = jax.ShapeDtypeStruct(
        (2, model.image_size, model.image_size, 3), jnp.float32
    )
    return jax.eval_shape(model.init_with_output, jax.random.key(0), image)


def noise(model):
    """Random variables, scaled to keep the signal, none of them 0: nothing compiles."""
    rng = np.random.default_rng(0)

    def value(path, a):
        if path[-1].key == "kernel":
            fan_in = np.prod(a.shape[:-1])
            return np.float32(rng.normal(size=a.shape) * np.sqrt(2 / fan_in))
        return np.float32(rng.uniform(0.5, 1.0, a.shape))

    return jax.tree.map_with_path(value, shapes(model)[1])


def sides_of_logits(model):
    """Returns none for a classifier, whose logits are of whole images."""
    if isinstance(model, Classifier):
        return ()
    return (model.image_size - 2 * model.margin,) * 2


def test_every_variant_has_an_exact_count():
    assert NUM_PARAMS.keys() == set(cnnjax.list_models())


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_has_a_paper(name):
    assert 1989 <= registry.paper(name).year
    assert registry.paper(name).url.startswith("https://")


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", NUM_PARAMS)
def test_num_params(name):
    model = cnnjax.create(name)
    # Like blocks need one trace then.
    if isinstance(model, StagedClassifier):
        model = model.clone(scan=True)
    elif isinstance(model, BackboneNetwork):
        model = model.clone(classifier=functools.partial(model.classifier, scan=True))
    _, variables = shapes(model)
    params = jax.tree.leaves(variables["params"])
    assert sum(a.size for a in params) == NUM_PARAMS[name]


@pytest.mark.parametrize("name", TINY)
def test_endpoints(name):
    model, strides = TINY[name], family_of(name).STRIDES
    (logits, out), _ = shapes(model)
    for name, stride in strides.items():
        side = -(-model.image_size // stride)
        chex.assert_shape(out[name], (2, side, side, None))
    assert out.keys() >= {*strides, "pre_logits", "logits"}
    chex.assert_shape(logits, (2, *sides_of_logits(model), model.num_classes))


@every_tiny
def test_no_classes_leave_the_head_out(model):
    (features, out), variables = shapes(model.clone(num_classes=None))
    assert "logits" not in out
    assert "head" not in variables["params"]
    chex.assert_equal_shape([features, out["pre_logits"]])


@every_tiny
def test_bfloat16_computes_with_float32_parameters(model):
    (logits, _), variables = shapes(model.clone(dtype=jnp.bfloat16))
    assert logits.dtype == jnp.bfloat16
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(variables))
    _, variables = shapes(model.clone(param_dtype=jnp.bfloat16))
    assert all(a.dtype == jnp.bfloat16 for a in jax.tree.leaves(variables["params"]))


@every_tiny
def test_any_number_of_channels(model):
    shape = (1, model.image_size, model.image_size, 5)
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    jax.eval_shape(model.init, jax.random.key(0), image)


@every_tiny
def test_takes_its_convolution_as_a_function(model):
    called = []

    def convolution(*arguments, **options):
        called.append(arguments)
        return jax.lax.conv_general_dilated(*arguments, **options)

    shapes(model.clone(conv_general_dilated=convolution))
    assert called


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in TINY
    ],
)
def test_training(name):
    """The gradient reaches every parameter; training differs from inference."""
    # It compiles faster; that ours has the same gradients is tested with it.
    model = TINY[name].clone(conv_general_dilated=jax.lax.conv_general_dilated)
    variables = noise(model)
    statistics = {k: v for k, v in variables.items() if k != "params"}

    def loss(params, train):
        (logits, _), updates = model.apply(
            {"params": params, **statistics},
            images(model),
            train=train,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(1)},
        )
        return jnp.square(logits).sum(), (logits, updates)

    @jax.jit
    def both(params):
        gradient, inference = jax.grad(loss, has_aux=True)(params, False)
        return gradient, inference, loss(params, True)[1]

    gradients, (inference, same), (training, updated) = both(variables["params"])
    for path, g in jax.tree.leaves_with_path(gradients):
        assert np.any(g != 0) and np.all(np.isfinite(g)), jax.tree_util.keystr(path)
    assert not np.allclose(inference, training, rtol=1e-3)
    for old, new in zip(
        jax.tree.leaves(statistics), jax.tree.leaves(updated), strict=True
    ):
        assert np.any(old != new)
    chex.assert_trees_all_equal(same, statistics)
