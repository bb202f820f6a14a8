"""What the operations have to do with one another, and how they refuse bad input."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax import ops


def normal(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), jnp.float32)


def assert_close(actual, expected, tolerance=1e-5):
    scale = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=scale)


@pytest.mark.parametrize("groups, offset_groups", [(1, 1), (2, 4)])
def test_deformable_without_offsets_is_a_convolution(groups, offset_groups):
    x, kernel = normal(2, 9, 8, 4), normal(3, 3, 4 // groups, 6)
    geometry = {"strides": 2, "padding": 1, "feature_group_count": groups}
    expected = ops.conv2d(x, kernel, **geometry)
    offset = jnp.zeros((*expected.shape[:3], 18 * offset_groups))
    assert_close(ops.deform_conv2d(x, offset, kernel, **geometry), expected)
    half = jnp.full((*expected.shape[:3], 9 * offset_groups), 0.5)
    y = ops.deform_conv2d(x, offset, kernel, half, **geometry)
    assert_close(y, expected / 2)


def test_deformable_with_integer_offsets_sees_shifted_taps():
    x, kernel = normal(1, 9, 9, 2), normal(3, 3, 2, 3)
    offset = jnp.tile(jnp.array([2.0, -1.0]), (1, 9, 9, 9))
    y = ops.deform_conv2d(x, offset, kernel, padding=1)
    moved = ops.shift2d(x, [(2, -1)] * 2)
    expected = ops.conv2d(moved, kernel, padding=1)
    assert_close(y[:, 1:-3, 2:-1], expected[:, 1:-3, 2:-1])


def test_deformable_sees_zeros_outside():
    x, kernel = normal(1, 4, 4, 2), normal(1, 1, 2, 3)
    far = jnp.full((1, 4, 4, 2), 100.0)
    assert (ops.deform_conv2d(x, far, kernel) == 0).all()
    edge = jnp.tile(jnp.array([-0.5, 0.0]), (1, 4, 4, 1))
    y = ops.deform_conv2d(x, edge, kernel)
    assert_close(y[:, 0], 0.5 * ops.conv2d(x, kernel)[:, 0])


def test_deformable_holds_one_row_of_taps():
    def temporary_bytes(rows):
        shapes = ((1, 32, 32, 16), (1, 32, 32, 10 * rows), (rows, 5, 16, 4))
        arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]

        def loss(x, offset, kernel):
            y = ops.deform_conv2d(
                x, offset, kernel, padding=((rows // 2, rows // 2), (2, 2))
            )
            return y.sum()

        gradient = jax.jit(jax.grad(loss, (0, 1, 2)))
        memory = gradient.lower(*arguments).compile().memory_analysis()
        return memory.temp_size_in_bytes

    assert temporary_bytes(7) < 2 * temporary_bytes(1)


@pytest.mark.parametrize("channels", [9, 13])
def test_shift_by_the_grid_is_a_depthwise_convolution_with_one_hot_kernels(channels):
    x = normal(2, 6, 7, channels)
    table = ops.grid_displacements(channels, 3)
    kernel = np.zeros((3, 3, 1, channels), np.float32)
    for c, (dy, dx) in enumerate(table):
        kernel[1 + dy, 1 + dx, 0, c] = 1
    expected = ops.depthwise_conv2d(x, kernel, padding=1)
    np.testing.assert_array_equal(ops.shift2d(x, table), expected)


def test_shift_takes_any_table():
    x = normal(1, 5, 6, 4)
    table = [(1, 0), (0, -2), (1, 0), (7, 0)]
    y = ops.shift2d(x, table, mode="circular")
    for c, (dy, dx) in enumerate(table):
        expected = np.roll(x[..., c], (-dy, -dx), (1, 2))
        np.testing.assert_array_equal(y[..., c], expected)
    assert (ops.shift2d(x, table)[..., 3] == 0).all()


def test_shifting_back_is_the_gradient():
    x, table = normal(1, 5, 5, 3), [(0, 1), (2, -1), (0, 0)]
    g = normal(1, 5, 5, 3, seed=1)
    back = [(-dy, -dx) for dy, dx in table]
    pullback = jax.vjp(lambda x: ops.shift2d(x, table), x)[1]
    np.testing.assert_array_equal(pullback(g)[0], ops.shift2d(g, back))


@pytest.mark.parametrize("groups", [1, 2, 3, 6, 12])
def test_shuffling_there_and_back_is_the_identity(groups):
    x = normal(1, 2, 2, 12)
    y = ops.channel_shuffle(ops.channel_shuffle(x, groups), 12 // groups)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("kernel, groups", [((3, 3, 4, 5), 1), ((3, 3, 1, 4), 4)])
def test_convolution_moves_with_the_image(kernel, groups):
    x, kernel = normal(1, 12, 12, 4), normal(*kernel)
    conv = functools.partial(ops.conv2d, feature_group_count=groups)
    moved = jnp.roll(x, (2, 1), (1, 2))
    expected = jnp.roll(conv(x, kernel), (2, 1), (1, 2))
    np.testing.assert_allclose(
        conv(moved, kernel)[:, 2:, 1:], expected[:, 2:, 1:], atol=1e-5
    )


def test_max_pooling_hardly_notices_a_move():
    blob = jnp.zeros((1, 8, 8, 1)).at[:, 2:4, 2:4].set(1.0)
    moved = jnp.roll(blob, 1, 2)
    pooled = ops.max_pool2d(blob, 4), ops.max_pool2d(moved, 4)
    assert (pooled[0] == pooled[1]).mean() >= 0.75
    assert (blob == moved).mean() < 1


@pytest.mark.parametrize("strides, padding", [(2, 1), (1, 1), (3, 0)])
def test_max_pooling_has_the_gradient_of_the_first(strides, padding):
    x = jnp.round(normal(2, 9, 9, 3))  # With many ties.

    def xlas(x):
        return lax.reduce_window(
            x,
            -jnp.inf,
            lax.max,
            (1, 3, 3, 1),
            (1, strides, strides, 1),
            ((0, 0), *[(padding, padding)] * 2, (0, 0)),
        )

    y, pullback = jax.vjp(lambda x: ops.max_pool2d(x, 3, strides, padding), x)
    expected, expected_pullback = jax.vjp(xlas, x)
    np.testing.assert_array_equal(y, expected)
    g = normal(*y.shape, seed=1)
    assert_close(pullback(g)[0], expected_pullback(g)[0])


def test_max_pooling_of_integers_and_nan():
    x = jnp.arange(16).reshape(1, 4, 4, 1)
    assert ops.max_pool2d(x, 2)[0, :, :, 0].tolist() == [[5, 7], [13, 15]]
    x = x.astype(jnp.float32).at[0, 0, 0, 0].set(jnp.nan)
    assert jnp.isnan(ops.max_pool2d(x, 2)).sum() == 1


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 5)])
def test_adaptive_pooling(size):
    x = normal(1, 7, 9, 2)
    y = ops.adaptive_avg_pool2d(x, size)
    for i in range(size[0]):
        for j in range(size[1]):
            rows = slice(i * 7 // size[0], -(-(i + 1) * 7 // size[0]))
            columns = slice(j * 9 // size[1], -(-(j + 1) * 9 // size[1]))
            expected = x[:, rows, columns].mean((1, 2))
            np.testing.assert_allclose(y[:, i, j], expected, atol=1e-6)


def test_blurring_keeps_what_is_even_and_halves():
    x = jnp.full((1, 8, 9, 3), 2.0)
    y = ops.blur_pool(x)
    assert y.shape == (1, 4, 5, 3)
    np.testing.assert_allclose(y, 2.0)
    spot = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
    line = np.array([1, 2, 1]) / 4
    expected = np.outer(line, line)
    np.testing.assert_allclose(ops.blur_pool(spot, 1)[0, 1:4, 1:4, 0], expected)


@pytest.mark.parametrize("strides, kernel", [(2, 2), (2, 3), (3, 2), (1, 3), (2, 5)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_transposed_convolution_by_tensorflows_paddings(strides, kernel, padding):
    x, weights = normal(1, 5, 4, 2), normal(kernel, kernel, 2, 3)
    y = ops.conv_transpose2d(x, weights, strides=strides, padding=padding)
    # Its definition: the gradient of the convolution with that padding.
    size = [5 * strides, 4 * strides]
    if padding == "VALID":
        size = [(n - 1) * strides + max(kernel, strides) for n in (5, 4)]
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)

    def forward(images):
        return ops.conv_general_dilated(
            images,
            weights.swapaxes(2, 3),
            (strides, strides),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    assert_close(y, jax.linear_transpose(forward, images)(x)[0])


def test_pointwise_and_separable():
    x, depthwise, pointwise = normal(2, 6, 6, 4), normal(3, 3, 1, 4), normal(4, 5)
    bias = normal(5)
    y = ops.depthwise_separable_conv2d(x, depthwise, pointwise, bias, 2, 1)
    middle = ops.conv2d(x, depthwise, None, 2, 1, 1, 4)
    assert_close(y, ops.pointwise_conv2d(middle, pointwise, bias))
    assert_close(ops.pointwise_conv2d(x, pointwise), x @ pointwise)


def test_flaxs_running_averages():
    x = normal(4, 3, 3, 2)
    batch = ops.batch_statistics(x)
    start = jnp.zeros(2), jnp.ones(2)
    flax = ops.update_statistics(start, batch, 36, 0.9, "flax")
    np.testing.assert_allclose(flax[0], 0.1 * x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(flax[1], 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    "operation, static",
    [
        (lambda x: ops.max_pool2d(x, 3, 2, 1), "max_pool2d(window=(3, 3), strides="),
        (lambda x: ops.avg_pool2d(x, 2), "avg_pool2d(window=(2, 2), strides=(2, 2)"),
        (lambda x: ops.channel_shuffle(x, 2), "channel_shuffle(groups=2)"),
        (lambda x: ops.shift2d(x, [(0, 1)] * 4), "shift2d(displacements=((0, 1), (0"),
        (lambda x: ops.resize_bilinear(x, 9), "resize_bilinear(size=(9, 9), align"),
        (lambda x: ops.adaptive_avg_pool2d(x, 2), "adaptive_avg_pool2d(output_size="),
        (
            lambda x: ops.deform_conv2d(x, x[..., :2], x[:, :1, 0, :, None]),
            "deform_conv2d(strides=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1)",
        ),
    ],
)
def test_operations_are_one_named_equation(operation, static):
    x = jnp.ones((1, 6, 6, 4))
    names = [e.params.get("name", "") for e in jax.make_jaxpr(operation)(x).eqns]
    assert sum(name.startswith(static) for name in names) == 1


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: ops.shift2d(x[0], [(-1, -1)] * 200),
        jax.vmap(
            lambda x: ops.conv_general_dilated(
                x, x.mT, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            ),
        ),
    ],
)
def test_files_can_be_named_after_operations(operation, tmp_path):
    """As those of JAX's compilation cache are: `jit_` before, a hash behind."""
    equations = jax.make_jaxpr(operation)(jnp.ones((2, 1, 1, 1, 200))).eqns
    longest = max((str(e.params.get("name")) for e in equations), key=len)
    assert len(longest) > 100
    (tmp_path / f"jit_{longest}-{'0' * 64}-cache").touch()


X = jnp.ones((1, 6, 6, 4))
K = jnp.ones((3, 3, 4, 2))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ops.conv2d(X[0], K), r"images must be \[n, h, w, c\].*\(6, 6, 4\)"),
        (lambda: ops.conv2d(X, K[0]), r"kernel must be.*\(1, 6, 6, 4\).*\(3, 4, 2\)"),
        (
            lambda: ops.conv2d(X, K, feature_group_count=3),
            r"channels do not fit 3 groups: images \(1, 6, 6, 4\) and kernel",
        ),
        (lambda: ops.conv2d(X, K, strides=0), "strides must be .* at least 1, not 0"),
        (lambda: ops.conv2d(X, K, dilation=(1, -1)), "dilation must be"),
        (lambda: ops.conv2d(X, K, padding=-1), "padding must be .* at least 0"),
        (lambda: ops.conv2d(X, K, dilation=3), "the kernel does not fit into"),
        (lambda: ops.conv2d(X, K, jnp.ones(3)), r"bias \(3,\) for 2 output channels"),
        (lambda: ops.depthwise_conv2d(X, K), "channels do not fit 4 groups"),
        (lambda: ops.pointwise_conv2d(X, K), r"must be \[c, m\]"),
        (lambda: ops.conv_transpose2d(X, K[:, :, :3]), "channels do not fit 1 groups"),
        (lambda: ops.conv_transpose2d(X, K, padding="FULL"), "not SAME or VALID"),
        (
            lambda: ops.deform_conv2d(X, jnp.ones((1, 4, 4, 17)), K),
            r"offset must be \[1, 4, 4, 2 \* G \* 9\].*\(1, 4, 4, 17\)",
        ),
        (lambda: ops.deform_conv2d(X, jnp.ones((1, 6, 6, 18)), K), "offset must be"),
        (
            lambda: ops.deform_conv2d(
                X, jnp.ones((1, 4, 4, 18)), K, jnp.ones((1, 4, 4, 8))
            ),
            r"mask must be \(1, 4, 4, 9\), not \(1, 4, 4, 8\)",
        ),
        (lambda: ops.shift2d(X, [(0, 0)] * 3), r"one \(dy, dx\) for each"),
        (lambda: ops.shift2d(X, [(0, 0)] * 4, mode="wrap"), "not zero or circular"),
        (lambda: ops.grid_displacements(9, 2), "must be odd and positive, not 2"),
        (lambda: ops.channel_shuffle(X, 3), "3 groups do not divide the channels"),
        (lambda: ops.max_pool2d(X, 7), r"window \(7, 7\).*does not fit"),
        (lambda: ops.max_pool2d(X, 3, 2, 2), "does not fit images"),
        (lambda: ops.avg_pool2d(X, 2, 0), "strides must be"),
        (lambda: ops.adaptive_avg_pool2d(X, 0), "output_size must be"),
        (lambda: ops.resize_bilinear(X, (3, 0)), "size must be"),
        (lambda: ops.blur_pool(X[:, :1]), "does not fit images"),
        (lambda: ops.global_avg_pool(X[0]), "images must be"),
    ],
)
def test_bad_input_is_refused_with_names_and_shapes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
