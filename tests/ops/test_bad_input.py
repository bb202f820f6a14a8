"""What no annotation catches: wrong numbers, dtypes and shapes are ValueErrors."""

import inspect
import types

import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops


# Without the checks of types that only these tests have.
RAW = types.SimpleNamespace(
    **{name: inspect.unwrap(f) for name, f in vars(ops).items() if callable(f)}
)
X, K = jnp.ones((2, 6, 7, 4)), jnp.ones((3, 3, 4, 6))
DEPTHWISE, OFFSET = jnp.ones((3, 3, 1, 4)), jnp.zeros((2, 4, 5, 18))
SHAPES = r"images \(2, 6, 7, 4\) and kernel \(3, 3, 4, 6\)"


@pytest.mark.parametrize(
    "call, message",
    [
        *(
            (lambda value=value: RAW.conv2d(X, K, strides=value), "strides must be")
            for value in (1.5, None, "22", (1, 1, 1), [2.0, 2.0])
        ),
        *(
            (lambda value=value: RAW.conv2d(X, K, padding=value), "padding must be")
            for value in (0.9, None, "SAME", [(1, 1), (1, 0.5)], [1, 1, 1])
        ),
        (lambda: RAW.conv2d(X, K[:0]), "the kernel must have taps"),
        (
            lambda: RAW.conv2d(X, K, feature_group_count=1.0),
            "feature_group_count must be an integer of at least 1, not 1.0",
        ),
        (lambda: ops.conv_transpose2d(X, K[:, :0]), "the kernel must have taps"),
        (
            lambda: ops.conv_transpose2d(X, K, strides=2, output_padding=2),
            r"output_padding \(2, 2\) must be less than the strides \(2, 2\).*images",
        ),
        (
            lambda: ops.conv_transpose2d(X, K, padding=4),
            r"leaves an output of \(0, 1\) pixels: images \(2, 6, 7, 4\)",
        ),
        *(
            (lambda value=value: RAW.shift2d(X, value), "displacements must be one")
            for value in ([(0.7, 0)] * 4, [1, 2, 3, 4], 5, [(1, 1, 1)] * 4)
        ),
        (lambda: ops.shift2d(X[..., :0], ()), "displacements must be one"),
        (
            lambda: ops.deform_conv2d(X[:, :1, :1], OFFSET[:, :0, :0], K),
            r"does not fit into the padded images: images \(2, 1, 1, 4\)",
        ),
        (
            lambda: ops.deform_conv2d(X, OFFSET, K.astype(jnp.bfloat16)),
            "images float32 and kernel bfloat16 must be of one floating dtype",
        ),
        *(
            (lambda call=call: call(X[:, :0]), r"must have pixels.*\(2, 0, 7, 4\)")
            for call in (
                lambda x: ops.adaptive_avg_pool2d(x, 2),
                lambda x: ops.resize_bilinear(x, 2),
                ops.global_avg_pool,
            )
        ),
        *(
            (lambda call=call: call(X.astype(int)), r"not int32: convert them first")
            for call in (
                lambda x: ops.adaptive_avg_pool2d(x, 2),
                lambda x: ops.avg_pool2d(x, 2),
                lambda x: ops.resize_bilinear(x, 2),
                ops.blur_pool,
                lambda x: ops.batch_norm(x, (X[0, 0, 0],) * 2, *(X[0, 0, 0],) * 2),
            )
        ),
        (lambda: ops.max_pool2d(X > 0, 2), "truth values"),
        (lambda: ops.max_pool2d(X[:, :1], 4, 2, ceil_mode=True), "does not fit"),
        (lambda: RAW.blur_pool(X, 2, 3.0), "filter_size must be an integer"),
        (lambda: RAW.channel_shuffle(X, 2.0), "groups must be an integer"),
        (lambda: RAW.grid_displacements(9, 3.0), "kernel_size must be an integer"),
        (lambda: ops.grid_displacements(-9, 3), "channels must be"),
        (lambda: ops.batch_statistics(jnp.ones(())), r"x must be \[..., c\]"),
    ],
)
def test_wrong_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ops.conv2d(X, K, jnp.ones(5)), rf"bias \(5,\) for 6.*{SHAPES}"),
        (
            lambda: ops.conv_transpose2d(X, K, jnp.ones(5)),
            rf"bias \(5,\) for 6.*{SHAPES}",
        ),
        (
            lambda: ops.depthwise_separable_conv2d(X, DEPTHWISE, jnp.ones((5, 6))),
            r"must be \[4, m\].*images \(2, 6, 7, 4\).*\(5, 6\)",
        ),
        (
            lambda: ops.depthwise_separable_conv2d(
                X, DEPTHWISE, jnp.ones((4, 6)), jnp.ones(5)
            ),
            r"bias \(5,\) for 6 output channels: images",
        ),
    ],
)
def test_nothing_runs_before_all_is_checked(call, message, monkeypatch):
    def run(*arguments, **options):
        raise AssertionError("a convolution ran")

    monkeypatch.setattr("cnnjax.ops._conv2d.conv_general_dilated", run)
    with pytest.raises(ValueError, match=message):
        call()


def test_arrays_of_integers_are_taken():
    two = np.array([2, 2])
    y = ops.conv2d(X, K, strides=two, padding=np.array([[1, 1], [0, 1]]), dilation=two)
    np.testing.assert_array_equal(
        y, ops.conv2d(X, K, strides=2, padding=[(1, 1), (0, 1)], dilation=2)
    )
    table = np.array([(0, 1), (1, 0), (0, 0), (0, 1)])
    np.testing.assert_array_equal(ops.shift2d(X, table), ops.shift2d(X, table.tolist()))
