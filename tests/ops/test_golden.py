"""Values and gradients of the operations, against the reference's (NCHW)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import load_op, ops_named

from cnnjax import ops


def nhwc(x):
    return np.moveaxis(x, 1, -1)


def hwio(kernel):
    return kernel.transpose(2, 3, 1, 0)


def assert_close(actual, expected):
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


def assert_equal_with_gradients(function, arguments, golden, layouts):
    """Compares the output, and each argument's gradient for the golden cotangent."""
    y, pullback = jax.vjp(jax.jit(function), *arguments)
    assert_close(y, nhwc(golden["y"]))
    gradients = pullback(jnp.asarray(nhwc(golden["cotangent"])))
    for name, gradient in zip(layouts, gradients, strict=True):
        assert_close(gradient, layouts[name](golden[f"d{name}"]))


@pytest.mark.parametrize("name", ops_named("conv2d"))
def test_conv2d(name):
    golden, options = load_op(name)

    def function(x, kernel, bias):
        return ops.conv2d(
            x,
            kernel,
            bias,
            options["stride"],
            options["padding"],
            options["dilation"],
            options["groups"],
        )

    arguments = nhwc(golden["x"]), hwio(golden["weight"]), golden["bias"]
    layouts = {"x": nhwc, "weight": hwio, "bias": lambda b: b}
    assert_equal_with_gradients(function, arguments, golden, layouts)


@pytest.mark.parametrize("name", ops_named("conv_transpose2d"))
def test_conv_transpose2d(name):
    golden, options = load_op(name)
    y = ops.conv_transpose2d(
        jnp.asarray(nhwc(golden["x"])),
        jnp.asarray(golden["weight"].transpose(2, 3, 0, 1)),
        jnp.asarray(golden["bias"]),
        options["stride"],
        options["padding"],
        options["output_padding"],
        options["dilation"],
        options["groups"],
    )
    assert_close(y, nhwc(golden["y"]))


@pytest.mark.parametrize("name", ops_named("deform_conv2d"))
def test_deform_conv2d(name):
    golden, options = load_op(name)
    layouts = {"x": nhwc, "offset": nhwc, "weight": hwio, "bias": lambda b: b}
    layouts |= {"mask": nhwc} if "mask" in golden else {}

    def function(x, offset, kernel, bias, mask=None):
        return ops.deform_conv2d(
            x,
            offset,
            kernel,
            mask,
            bias,
            options["stride"],
            options["padding"],
            options["dilation"],
            options["groups"],
        )

    arguments = [layout(golden[key]) for key, layout in layouts.items()]
    assert_equal_with_gradients(function, arguments, golden, layouts)


@pytest.mark.parametrize("name", ops_named("pool2d"))
def test_pooling(name):
    golden, options = load_op(name)
    x = jnp.asarray(nhwc(golden["x"]))
    geometry = [options[key] for key in ("kernel", "stride", "padding", "ceil_mode")]
    assert_close(ops.max_pool2d(x, *geometry), nhwc(golden["max"]))
    assert_close(ops.avg_pool2d(x, *geometry), nhwc(golden["avg"]))
    mean = ops.avg_pool2d(x, *geometry, count_include_pad=False)
    assert_close(mean, nhwc(golden["avg_exclude_pad"]))


def test_activations():
    golden, _ = load_op("activations")
    x = jnp.asarray(golden["x"])
    for name, function in {
        "relu": ops.relu,
        "relu6": ops.relu6,
        "gelu": ops.gelu,
        "gelu_tanh": lambda x: ops.gelu(x, approximate=True),
        "silu": ops.silu,
        "hardswish": ops.hard_swish,
        "hardsigmoid": ops.hard_sigmoid,
        "softmax": ops.softmax,
    }.items():
        assert_close(function(x), golden[name])


def test_batch_norm():
    golden, options = load_op("batch_norm")
    channels = golden["weight"].shape
    running = jnp.zeros(channels), jnp.ones(channels)
    for x, y in zip(golden["x"], golden["y"], strict=True):
        x = jnp.asarray(nhwc(x))
        batch = ops.batch_statistics(x)
        out = ops.batch_norm(x, batch, golden["weight"], golden["bias"], options["eps"])
        assert_close(out, nhwc(y))
        running = ops.update_statistics(
            running, batch, x[..., 0].size, options["momentum"], "torch"
        )
    assert_close(running[0], golden["running_mean"])
    assert_close(running[1], golden["running_var"])
    x = jnp.asarray(nhwc(golden["x"][0]))
    out = ops.batch_norm(x, running, golden["weight"], golden["bias"], options["eps"])
    assert_close(out, nhwc(golden["y_eval"]))


def test_channel_shuffle():
    golden, options = load_op("channel_shuffle")
    y = ops.channel_shuffle(jnp.asarray(nhwc(golden["x"])), options["groups"])
    np.testing.assert_array_equal(y, nhwc(golden["y"]))


@pytest.mark.parametrize("align_corners, key", [(False, "up"), (True, "up_corners")])
def test_resize_bilinear(align_corners, key):
    golden, _ = load_op("resize_bilinear")
    x = jnp.asarray(nhwc(golden["x"]))
    y = ops.resize_bilinear(x, golden[key].shape[2:], align_corners)
    assert_close(y, nhwc(golden[key]))
