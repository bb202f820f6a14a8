"""CIFAR ResNets: exact counts, equality to the reference, and sane gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import load

import cnnjax
from cnnjax.models.resnet_cifar import VARIANTS, CifarBlock, CifarResNet


# By hand: 3x3 convolutions of 16, 32 and 64 channels with their norms, the stem, the
# head; resnet20 and resnet110 are also those of the golden files.
NUM_PARAMS = {
    "resnet20_cifar": 272_474,
    "resnet32_cifar": 466_906,
    "resnet44_cifar": 661_338,
    "resnet56_cifar": 855_770,
    "resnet110_cifar": 1_730_714,
    "resnet1202_cifar": 19_424_026,
    "plain20_cifar": 269_722,
    "plain32_cifar": 464_154,
    "plain44_cifar": 658_586,
    "plain56_cifar": 853_018,
    "plain110_cifar": 1_727_962,
    "plain1202_cifar": 19_421_274,
}
SHORTCUTS = ("projection", "pad", "none")


def tiny(shortcut="projection", **options):
    return CifarResNet((1, 1, 1), shortcut, **options)


def images(n=2, size=8):
    return jax.random.normal(jax.random.key(0), (n, size, size, 3))


def noise_variables(model):
    """Positive noise for every variable: nothing compiles, and no gain is zero."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images())
    return jax.tree.map(lambda s: np.float32(rng.uniform(0.1, 0.3, s.shape)), shapes)


def test_every_variant_has_an_exact_count():
    assert VARIANTS.keys() == NUM_PARAMS.keys()


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_num_params(name):
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    init = cnnjax.create(name).init
    params = jax.eval_shape(init, jax.random.key(0), x)["params"]
    assert sum(p.size for p in jax.tree.leaves(params)) == NUM_PARAMS[name]


def from_pytorchcv(state):
    """Renames a pytorchcv state_dict: convolutions are OIHW there, HWIO here."""
    places = {"body.conv1": "0", "body.conv2": "1", "identity_conv": "proj"}
    variables = {"params": {}, "batch_stats": {}}

    def put(kind, *path_and_value):
        *path, leaf, value = path_and_value
        node = variables[kind]
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value

    for name, value in state.items():
        parts = name.split(".")
        leaf = parts.pop()
        if name.startswith("output."):
            value = value.T if leaf == "weight" else value
            put("params", "head", "kernel" if leaf == "weight" else "bias", value)
            continue
        if leaf == "num_batches_tracked":
            continue
        layer = parts.pop()
        if "init_block" in parts:
            path = ["stem" if layer == "conv" else "stem_norm"]
        else:
            place = places[".".join(parts[3:])]
            kind = "conv" if layer == "conv" else "norm"
            default = {"conv": "Conv", "norm": "BatchNorm"}[kind]
            stage, unit = parts[1].removeprefix("stage"), parts[2].removeprefix("unit")
            path = [
                f"stage{stage}_block{unit}",
                f"{kind}_proj" if place == "proj" else f"{default}_{place}",
            ]
        if layer == "conv":
            put("params", *path, "kernel", value.transpose(2, 3, 1, 0))
        elif leaf.startswith("running_"):
            put("batch_stats", *path, leaf.removeprefix("running_"), value)
        else:
            put("params", *path, {"weight": "scale", "bias": "bias"}[leaf], value)
    return variables


@pytest.mark.parametrize("depth", [20, pytest.param(110, marks=pytest.mark.slow)])
def test_equals_the_reference(depth):
    state, x, golden = load(f"pytorchcv-resnet{depth}_cifar10-32x32")
    model = cnnjax.create(f"resnet{depth}_cifar")
    variables = from_pytorchcv(state)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    chex.assert_trees_all_equal_shapes_and_dtypes(variables, shapes)
    logits, _ = jax.jit(model.apply)(variables, x)
    error = np.max(np.abs(logits - golden["output"])) / np.std(golden["output"])
    assert error < 1e-5  # Measured: 1e-6.
    num_params = sum(p.size for p in jax.tree.leaves(variables["params"]))
    assert num_params == golden["params"]


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_endpoints(shortcut):
    model = tiny(shortcut)
    init = model.init_with_output
    (logits, out), _ = jax.eval_shape(init, jax.random.key(0), images(size=12))
    assert set(out) == {"stem", "stage1", "stage2", "stage3", "pre_logits", "logits"}
    chex.assert_shape(out["stem"], (2, 12, 12, 16))
    chex.assert_shape(out["stage1"], (2, 12, 12, 16))
    chex.assert_shape(out["stage2"], (2, 6, 6, 32))
    chex.assert_shape(out["stage3"], (2, 3, 3, 64))
    chex.assert_shape(out["pre_logits"], (2, 64))
    chex.assert_shape(logits, (2, 10))


def test_no_classes_leave_the_head_out():
    model = tiny(num_classes=None)
    init = model.init_with_output
    (features, out), variables = jax.eval_shape(init, jax.random.key(0), images())
    chex.assert_shape(features, (2, 64))
    assert "logits" not in out
    assert "head" not in variables["params"]


def block(shortcut):
    import flax.linen as nn

    return CifarBlock(
        features=4,
        strides=(2, 2),
        shortcut=shortcut,
        conv=nn.Conv,
        norm=lambda name=None: nn.BatchNorm(use_running_average=True, name=name),
        act=lambda x: x,
    )


def test_option_a_passes_every_other_pixel_and_zeros():
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 2))
    variables = block("pad").init(jax.random.key(0), x)
    outputs = {kind: block(kind).apply(variables, x) for kind in ("pad", "none")}
    shortcut = outputs["pad"] - outputs["none"]
    np.testing.assert_allclose(shortcut[..., :2], x[:, ::2, ::2], atol=1e-6)
    np.testing.assert_array_equal(shortcut[..., 2:], 0.0)


def test_options_a_and_plain_have_no_shortcut_parameters():
    counts = {
        kind: sum(
            p.size for p in jax.tree.leaves(noise_variables(tiny(kind))["params"])
        )
        for kind in SHORTCUTS
    }
    assert counts["pad"] == counts["none"]
    # Two projections, 16 to 32 and 32 to 64 channels, with scale and bias.
    assert counts["projection"] - counts["pad"] == 16 * 32 + 32 * 64 + 2 * (32 + 64)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_gradient_reaches_every_parameter(shortcut):
    model = tiny(shortcut)
    variables = noise_variables(model)

    def loss(params):
        logits, _ = model.apply({**variables, "params": params}, images())
        return jnp.sum(jnp.square(logits))

    grads = jax.device_get(jax.jit(jax.grad(loss))(variables["params"]))
    for path, g in jax.tree.leaves_with_path(grads):
        assert np.any(g != 0), jax.tree_util.keystr(path)


def test_training_uses_and_updates_the_batch_statistics():
    model = tiny()
    variables = noise_variables(model)
    eval_logits, _ = model.apply(variables, images())
    (train_logits, _), updates = model.apply(
        variables, images(), train=True, mutable=["batch_stats"]
    )
    chex.assert_equal_shape([eval_logits, train_logits])
    assert not np.allclose(eval_logits, train_logits, rtol=1e-3)
    for old, new in zip(
        jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(updates), strict=True
    ):
        assert not np.allclose(old, new)


def test_bfloat16_compute_keeps_float32_params():
    init = tiny(dtype=jnp.bfloat16).init_with_output
    (logits, _), variables = jax.eval_shape(init, jax.random.key(0), images())
    assert logits.dtype == jnp.bfloat16
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables["params"]))


def test_the_convolution_is_an_argument():
    calls = []

    def convolution(*args, **kwargs):
        calls.append(args[0].shape)
        return jax.lax.conv_general_dilated(*args, **kwargs)

    model = tiny(conv_general_dilated=convolution)
    jax.eval_shape(model.init, jax.random.key(0), images())
    assert len(calls) == 1 + 3 * 2 + 2  # The stem, the blocks, two projections.
