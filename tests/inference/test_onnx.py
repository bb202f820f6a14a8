"""ONNX files compute in ONNX Runtime what the model computes (the extra `onnx`)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import cnnjax
from cnnjax import errors, inference, ops
from cnnjax.inference import _interpreter, _onnx
from cnnjax.inference._interpreter import evaluate


class Small(nn.Module):
    """Padded and strided layers, and a norm, followed by whatever is asked for."""

    last: str = "none"

    @nn.compact
    def __call__(self, x):
        conv = ops.conv_general_dilated
        x = nn.Conv(4, (3, 3), 2, conv_general_dilated=conv, use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=True)(x)
        x = ops.max_pool2d(x, 3, 2, 1)
        if self.last == "deformable":
            x = cnnjax.nn.DeformConv(4, (3, 3), padding=((1, 1), (1, 1)))(x)
        if self.last == "unknown":
            x = jax.pure_callback(np.asarray, x, x)
        return nn.Dense(3)(x.mean((1, 2))), {}


def prepared(model, side, channels=3):
    """Returns random images and random variables, offsets included."""
    images = jax.random.normal(jax.random.key(1), (2, side, side, channels))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if path[-1].key == "var":
            return jnp.ones(leaf.shape, leaf.dtype)
        fan_in = max(1, np.prod(leaf.shape[:-1]))
        return jnp.asarray(rng.normal(0, fan_in**-0.5, leaf.shape), leaf.dtype)

    return images, jax.tree.map_with_path(fill, shapes)


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name


@pytest.mark.parametrize(
    "name, side, options",
    [("resnet18", 32, {"deformable_blocks": 1}), ("resnet20_cifar", 8, {"scan": True})],
)
def test_a_program_of_lax_alone_computes_the_same(name, side, options):
    model = cnnjax.create(name, num_classes=3, **options)
    images, variables = prepared(model, side)
    program = jax.make_jaxpr(lambda x: model.apply(variables, x)[0])(images)
    plain = jax.make_jaxpr(lambda x: evaluate(program, [x], _onnx._in_lax))(images)
    names = {*primitives(plain.jaxpr)}
    assert "conv_general_dilated" in names
    others = {"cnnjax_conv_general_dilated", "cond", "scan", "platform_index"}
    assert not names & (others | {*_interpreter._CALLS} - {"jit"})
    (found,) = jax.jit(lambda x: evaluate(program, [x], _onnx._in_lax))(images)
    expected, _ = jax.jit(model.apply)(variables, images)
    scale = jnp.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_loops_are_unrolled(reverse):
    def loop(x):
        def step(total, row):
            return total + row, total * row

        return lax.scan(step, jnp.ones(2), x, reverse=reverse)

    x = jnp.arange(6.0).reshape(3, 2)
    program = jax.make_jaxpr(loop)(x)
    found = evaluate(program, [x], _onnx._in_lax)
    for one, other in zip(found, jax.tree.leaves(loop(x)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_extra_is_named_where_it_is_missing(monkeypatch, tmp_path):
    images, variables = prepared(Small(), 8)
    monkeypatch.setitem(__import__("sys").modules, "jax2onnx", None)
    with pytest.raises(errors.UserError, match=r"pip install 'cnnjax\[onnx\]'"):
        inference.export_onnx(Small(), variables, images.shape, tmp_path / "m.onnx")


@pytest.fixture
def converted(tmp_path):
    """Returns a function that exports a model and returns a file and what it lacks."""
    pytest.importorskip("jax2onnx")
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")

    def convert(model, side, batch_size=None, channels=3):
        path = tmp_path / "new" / "model.onnx"
        images, variables = prepared(model, side, channels)
        shape = (batch_size, *images.shape[1:])
        inference.export_onnx(model, variables, shape, path)
        assert [p.name for p in path.parent.iterdir()] == [path.name]
        file = onnx.load(path)
        onnx.checker.check_model(file, full_check=True)
        session = onnxruntime.InferenceSession(path)
        expected = np.asarray(jax.jit(model.apply)(variables, images)[0])
        for count in (1, 2) if batch_size is None else (batch_size,):
            inputs = {"images": np.asarray(images[:count])}
            (found,) = session.run(["output"], inputs)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(
                found / scale, expected[:count] / scale, rtol=0, atol=1e-4
            )
        return [node.op_type for node in file.graph.node]

    return convert


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("last", ["none", "deformable"])
def test_small_nets(converted, last, batch_size):
    operators = converted(Small(last), 16, batch_size)
    assert operators.count("Conv") == (2 if last == "deformable" else 1)
    assert operators.count("MaxPool") == 1
    assert "BatchNormalization" not in operators
    assert not {"Loop", "Scan", "If"} & {*operators}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, side, options",
    [
        ("resnet18", 32, {}),
        ("resnet18", 32, {"deformable_blocks": 1}),
        ("mobilenet_v2", 32, {}),
        ("efficientnet_b0", 32, {}),
        ("convnext_tiny", 32, {}),
        ("densenet121", 32, {}),
        ("shufflenet_v2_x1_0", 32, {}),
        ("vgg11", 64, {}),
        ("squeezenet1_1", 64, {}),
        ("swin_t", 64, {}),
        ("swin_t", 56, {}),
        ("resnet20_cifar", 8, {"scan": True}),
    ],
)
def test_networks(converted, name, side, options):
    converted(cnnjax.create(name, num_classes=10, **options), side)


def test_what_has_no_onnx_is_named(tmp_path):
    pytest.importorskip("jax2onnx")
    model = Small("unknown")
    images, variables = prepared(model, 8)
    with pytest.raises(errors.UserError, match=r"convert Small: .*pure_callback"):
        inference.export_onnx(model, variables, images.shape, tmp_path / "m.onnx")
    with pytest.raises(errors.UserError, match="missing params/Dense_0"):
        del variables["params"]["Dense_0"]
        inference.export_onnx(model, variables, images.shape, tmp_path / "m.onnx")
    assert not any(tmp_path.iterdir())
