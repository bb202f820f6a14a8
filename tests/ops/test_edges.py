"""NaN and infinity, empty batches, half precision, strict promotion, names."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops


def normal(*shape, dtype=jnp.float32):
    return jnp.asarray(np.random.RandomState(0).randn(*shape), dtype)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize(
    "operation, spoilt",
    [
        (lambda x: ops.resize_bilinear(x, 16), 9),  # By a whole factor.
        (lambda x: ops.resize_bilinear(x, 12), 4),
        (lambda x: ops.resize_bilinear(x, 15, align_corners=True), 4),
        (lambda x: ops.resize_bilinear(x, 8), 1),
        (lambda x: ops.resize_bilinear(x, 4), 1),
        (lambda x: ops.adaptive_avg_pool2d(x, 4), 1),
        (lambda x: ops.adaptive_avg_pool2d(x, 3), 1),
        (lambda x: ops.adaptive_avg_pool2d(x, 40), 25),
    ],
)
def test_one_bad_pixel_spoils_only_what_it_touches(operation, spoilt, bad):
    x = jnp.zeros((1, 8, 8, 1)).at[0, 0, 0, 0].set(bad)
    assert (~jnp.isfinite(operation(x))).sum() == spoilt


@pytest.mark.parametrize("old, new", [(3, 6), (5, 15), (4, 7), (7, 4), (1, 3), (2, 70)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_resizing_is_linear_between_centres(old, new, align_corners):
    x = normal(1, old, 2, 3)
    place = (np.arange(new) + 0.5) * old / new - 0.5
    if align_corners:
        place = np.arange(new) * (old - 1) / (new - 1)
    expected = [
        np.interp(place, np.arange(old), x[0, :, j, c])
        for j in range(2)
        for c in range(3)
    ]
    y, pullback = jax.vjp(lambda x: ops.resize_bilinear(x, (new, 2), align_corners), x)
    expected = np.reshape(np.stack(expected, 1), y.shape)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    g = jnp.cos(y)
    # The operation is linear: <g, A x> = <A^T g, x>.
    np.testing.assert_allclose((g * y).sum(), (pullback(g)[0] * x).sum(), rtol=1e-3)


def test_many_adaptive_windows_are_means_too():
    x = normal(1, 50, 3, 2)
    y, pullback = jax.vjp(lambda x: ops.adaptive_avg_pool2d(x, (40, 2)), x)
    for i in range(40):
        rows = slice(i * 50 // 40, -(-(i + 1) * 50 // 40))
        np.testing.assert_allclose(y[:, i, 0], x[:, rows, :2].mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose((y * y).sum(), (pullback(y)[0] * x).sum(), rtol=1e-4)


@pytest.mark.parametrize("strides, padding", [(2, 1), (1, 1), ((1, 2), (0, 1))])
def test_max_pooling_of_minus_infinity_keeps_its_gradient_inside(strides, padding):
    x = jnp.full((1, 4, 4, 1), -jnp.inf)
    y, pullback = jax.vjp(lambda x: ops.max_pool2d(x, 3, strides, padding), x)
    (gradient,) = pullback(jnp.ones(y.shape))
    assert gradient.sum() == y.size
    assert gradient[0, 0, 0, 0] > 0  # The first pixel of the first window.


def test_max_pooling_of_large_windows_has_the_gradient_of_the_first():
    x = jnp.round(normal(2, 15, 14, 2))  # With many ties.

    def xlas(x):
        padding = ((0, 0), (4, 4), (3, 3), (0, 0))
        window, strides = (1, 9, 8, 1), (1, 2, 1, 1)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)

    def ours(x):
        return ops.max_pool2d(x, (9, 8), (2, 1), ((4, 4), (3, 3)))

    y, pullback = jax.vjp(ours, x)
    expected, expected_pullback = jax.vjp(xlas, x)
    np.testing.assert_array_equal(y, expected)
    g = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
    np.testing.assert_allclose(pullback(g)[0], expected_pullback(g)[0], atol=1e-4)
    equations = str(jax.make_jaxpr(jax.grad(lambda x: ours(x).sum()))(x))
    assert equations.count("select_n") < 100  # Not one for each of the 72 places.


@pytest.mark.parametrize("size, expected", [(2, 1), (3, 1), (5, 2)])
def test_windows_may_stick_out_of_small_images(size, expected):
    x = jnp.arange(1.0, size * size + 1).reshape(1, size, size, 1)
    y = ops.max_pool2d(x, 3, 2, ceil_mode=True)
    assert y.shape == (1, expected, expected, 1)
    assert y[0, -1, -1, 0] == size * size
    mean = ops.avg_pool2d(x, 3, 2, ceil_mode=True)
    np.testing.assert_allclose(mean[0, 0, 0, 0], x[0, :3, :3].mean())


def test_empty_batches():
    x = jnp.ones((0, 6, 6, 4))
    assert ops.channel_shuffle(x, 2).shape == x.shape
    offset, kernel = jnp.zeros((0, 4, 4, 18)), jnp.ones((3, 3, 4, 2))
    assert ops.deform_conv2d(x, offset, kernel).shape == (0, 4, 4, 2)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_deformable_accumulates_in_single(dtype):
    x, kernel = normal(1, 6, 6, 64, dtype=dtype), normal(5, 5, 64, 8, dtype=dtype)
    y = ops.deform_conv2d(x, jnp.zeros((1, 2, 2, 50), dtype), kernel)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, ops.conv2d(x, kernel))


def test_deformable_is_nan_where_offsets_are_and_0_far_outside():
    x, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((1, 1, 1, 1))
    offset = jnp.zeros((1, 4, 4, 2)).at[0, 1, 2, 0].set(jnp.nan)
    offset = offset.at[0, 0, 0, 1].set(jnp.inf)
    y = ops.deform_conv2d(x, offset, kernel)[0, ..., 0]
    assert jnp.isnan(y[1, 2])
    assert y[0, 0] == 0
    assert (y == 1).sum() == 14


OPERATIONS = {
    "conv2d(strides=(1, 1), padding=": lambda x: ops.conv2d(
        x, normal(3, 3, 4, 6, dtype=x.dtype), normal(6, dtype=x.dtype)
    ),
    "depthwise_conv2d(strides=(1, 1)": lambda x: ops.depthwise_conv2d(
        x, normal(3, 3, 1, 4, dtype=x.dtype)
    ),
    "pointwise_conv2d(feature_group_count=1)": lambda x: ops.pointwise_conv2d(
        x, normal(4, 6, dtype=x.dtype)
    ),
    "depthwise_separable_conv2d(strides=": lambda x: ops.depthwise_separable_conv2d(
        x, normal(3, 3, 1, 4, dtype=x.dtype), normal(4, 6, dtype=x.dtype)
    ),
    "conv_transpose2d(strides=(2, 2), padding=": lambda x: ops.conv_transpose2d(
        x, normal(2, 2, 4, 6, dtype=x.dtype), strides=2
    ),
    "deform_conv2d(strides=(1, 1), padding=": lambda x: ops.deform_conv2d(
        x,
        jnp.zeros((1, 4, 4, 18), x.dtype),
        normal(3, 3, 4, 6, dtype=x.dtype),
        jnp.ones((1, 4, 4, 9), x.dtype),
    ),
    "max_pool2d(window=(2, 2)": lambda x: ops.max_pool2d(x, 2),
    "avg_pool2d(window=(2, 2)": lambda x: ops.avg_pool2d(x, 2),
    "adaptive_avg_pool2d(output_size=(4, 4))": lambda x: ops.adaptive_avg_pool2d(x, 4),
    "resize_bilinear(size=(9, 9)": lambda x: ops.resize_bilinear(x, 9),
    "blur_pool(strides=(2, 2), filter_size=3)": ops.blur_pool,
    "global_avg_pool()": ops.global_avg_pool,
    "batch_statistics()": lambda x: ops.batch_statistics(x)[0],
    "update_statistics(count=9, momentum=0.1": lambda x: ops.update_statistics(
        (x[0, 0, 0], x[0, 0, 0]), (x[0, 0, 0], x[0, 0, 1]), 9, 0.1, "torch"
    )[0],
    "batch_norm(epsilon=1e-05)": lambda x: ops.batch_norm(
        x, (jnp.zeros(4), jnp.ones(4)), jnp.ones(4), jnp.ones(4)
    ),
    "relu()": ops.relu,
    "relu6()": ops.relu6,
    "gelu(approximate=True)": lambda x: ops.gelu(x, True),
    "silu()": ops.silu,
    "hard_sigmoid()": ops.hard_sigmoid,
    "hard_swish()": ops.hard_swish,
    "softmax(axis=-1)": ops.softmax,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_equation_carries_the_operations_name(name):
    equations = jax.make_jaxpr(OPERATIONS[name])(jnp.ones((1, 6, 6, 4))).eqns
    names = [equation.params.get("name", "") for equation in equations]
    assert sum(found.startswith(name) for found in names) == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", OPERATIONS)
def test_strict_promotion(name, dtype):
    x = normal(1, 6, 6, 4, dtype=dtype)
    with jax.numpy_dtype_promotion("strict"):
        y, pullback = jax.vjp(OPERATIONS[name], x)
        (gradient,) = pullback(y)
    assert y.dtype == (jnp.float32 if name == "batch_statistics()" else dtype)
    assert gradient.dtype == dtype


@pytest.mark.parametrize(
    "name", ["relu", "relu6", "silu", "hard_sigmoid", "hard_swish"]
)
def test_activations_are_jaxs_own(name):
    ours, theirs = getattr(ops, name), getattr(jax.nn, name)
    for dtype in (jnp.float32, jnp.bfloat16):
        x = normal(7, 5, dtype=dtype)
        # Compiled: step by step, half precision is rounded more often.
        np.testing.assert_array_equal(ours(x), jax.jit(theirs)(x))
        assert ours(x).dtype == dtype
    weak = jax.lax.full((2,), 1.5)
    assert ours(weak).weak_type == theirs(weak).weak_type


@pytest.mark.parametrize("dtype, error", [(jnp.float32, 1e-6), (jnp.bfloat16, 4e-3)])
def test_gelu_is_exact_unless_asked(dtype, error):
    x = jnp.linspace(-7, 7, 1001).astype(dtype)
    exact = [v / 2 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()]
    y, slope = ops.gelu(x), jax.vmap(jax.grad(ops.gelu))(x)
    assert y.dtype == slope.dtype == dtype
    limits = error * np.maximum(np.abs(exact), 1)
    assert (np.abs(y.astype(jnp.float32) - np.array(exact)) <= limits).all()
    wanted = jax.vmap(jax.grad(lambda v: jax.nn.gelu(v, False)))(x.astype(jnp.float32))
    assert jnp.abs(slope.astype(jnp.float32) - wanted).max() < error
    np.testing.assert_array_equal(
        ops.gelu(x, approximate=True), jax.jit(jax.nn.gelu)(x)
    )
    weak = jax.lax.full((2,), 1.5)
    assert ops.gelu(weak).weak_type == jax.nn.gelu(weak).weak_type
