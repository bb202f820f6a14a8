"""Products are counted wherever they stand, as XLA and textbooks count them."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax import cost, ops
from cnnjax.errors import UserError


def test_deformable_sampling_is_counted_apart():
    def deform(x, offset, kernel):
        return ops.deform_conv2d(x, offset, kernel, padding=((1, 1), (1, 1)))

    shapes = (2, 6, 5, 4), (2, 6, 5, 18), (3, 3, 4, 7)
    (row,) = cost.analyze(deform, *shapes).rows
    macs = cost.deform_conv_macs(b=2, c=4, m=7, k=3, e=6, f=5)
    assert (row.macs, row.interpolation_macs) == macs


def test_a_shift_has_no_macs_and_no_parameters():
    def shift(x):
        return ops.shift2d(x, ops.grid_displacements(9, 3))

    (row,) = cost.analyze(shift, (2, 6, 5, 9)).rows
    assert row.macs == row.num_params == 0
    assert 8 * (row.bytes_read + row.bytes_written) == cost.shift_storage_bits(
        2, 9, 6, 5
    )


def loop(x):
    return jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y @ y, x)


def test_while_loops_need_a_trip_count():
    with pytest.raises(ValueError, match="pass trip_count"):
        cost.analyze(loop, (3, 3))
    assert cost.analyze(loop, (3, 3), trip_count=4).macs == 4 * 27


def test_the_costliest_branch_counts():
    def branch(flag, x):
        return jax.lax.cond(flag > 0, lambda x: x @ x, lambda x: x, x)

    assert cost.analyze(branch, (), (3, 3)).macs == 27


def test_the_platform_s_branch_counts_if_it_is_named():
    def product(x):
        return jax.lax.platform_dependent(
            x, tpu=lambda x: x @ x, default=lambda x: x @ x @ x
        )

    assert cost.analyze(product, (3, 3)).macs == 2 * 27
    assert cost.analyze(product, (3, 3), platform="tpu").macs == 27


def test_per_device():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("x")
    split = jax.shard_map(jnp.dot, mesh=mesh, in_specs=(spec, None), out_specs=spec)
    report = cost.analyze(split, (4, 3), (3, 5))
    (row,) = report.rows
    assert row.macs == 2 * 3 * 5
    assert row.bytes_read == 4 * (2 * 3 + 3 * 5) and row.bytes_written == 4 * 2 * 5
    assert cost.analyze(jax.pmap(jnp.dot), (2, 4, 3), (2, 3, 5)).macs == 4 * 3 * 5


def test_transformations():
    def layer(x):
        return jax.checkpoint(jnp.tanh)(x @ x)

    def looped(x):
        return jax.lax.scan(lambda x, _: (layer(x), None), x, length=7)[0]

    assert cost.analyze(jax.jit(looped), (3, 3)).macs == 7 * 27
    assert cost.analyze(jax.vmap(looped), (2, 3, 3)).macs == 2 * 7 * 27
    gradient = jax.grad(lambda x: layer(x).sum())
    assert cost.analyze(gradient, (3, 3)).macs == 3 * 27


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_in_bounds_is_half_of_xlas_flops(data):
    def draw(low, high):
        return data.draw(st.integers(low, high))

    groups, lhs, rhs, k = draw(1, 2), draw(1, 3), draw(1, 2), draw(1, 3)
    x = jnp.zeros((draw(1, 2), draw(4, 7), draw(4, 7), 2 * groups))
    kernel = jnp.zeros((k, draw(1, 3), 2, 3 * groups))
    padding = [(draw(0, 2), draw(0, 2)) for _ in range(2)]
    options = {
        "window_strides": (draw(1, 3), draw(1, 3)),
        "padding": padding,
        "lhs_dilation": (lhs, 1),
        "rhs_dilation": (1, rhs),
        "feature_group_count": groups,
        "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
    }

    def conv(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, **options)

    if 0 in jax.eval_shape(conv, x, kernel).shape:
        return
    flops = jax.jit(conv).lower(x, kernel).compile().cost_analysis().get("flops", 0)
    report = cost.analyze(conv, x, kernel)
    assert 2 * report.macs_in_bounds == flops
    ours = cost.analyze(
        lambda x, k: ops.conv_general_dilated(x, k, **options), x, kernel
    )
    assert ours.macs_in_bounds == report.macs_in_bounds
    assert ours.macs == report.macs


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_closed_forms(data):
    b, c, m, k, s, p, d, g = (
        data.draw(st.integers(1, high)) for high in (3, 3, 3, 3, 3, 2, 2, 2)
    )
    c, m, h, w = c * g, m * g, 7, 9
    e, f = (cost.output_size(n, k, s, p, d) for n in (h, w))
    x, kernel = (b, h, w, c), (k, k, c // g, m)

    def conv(x, kernel):
        return ops.conv2d(
            x, kernel, strides=s, padding=p, dilation=d, feature_group_count=g
        )

    (row,) = cost.analyze(conv, x, kernel).rows
    assert row.output_shape == (b, e, f, m)
    assert row.macs == cost.conv_macs(b, c, m, k, e, f, g)
    moved = 8 * (row.bytes_read + row.bytes_written)
    assert moved == cost.conv_storage_bits(b, c, m, k, h, w, e, f, g)

    def upsample(x, kernel):
        return ops.conv_transpose2d(
            x, kernel, strides=(s, s), dilation=(d, d), feature_group_count=g
        )

    (row,) = cost.analyze(upsample, x, (k, k, c, m // g)).rows
    rows, columns = (cost.transposed_output_size(n, k, s, 0, d) for n in (h, w))
    assert row.output_shape == (b, rows, columns, m)
    if s > 1:
        assert row.macs == cost.transposed_conv_macs(b, c, m, k, h, w, g)

    def separable(x, depthwise, pointwise):
        return ops.depthwise_separable_conv2d(
            x, depthwise, pointwise, strides=s, padding=p, dilation=d
        )

    report = cost.analyze(separable, x, (k, k, 1, c), (c, m))
    assert report.macs == cost.depthwise_separable_macs(b, c, m, k, e, f)

    def deform(x, offset, kernel):
        return ops.deform_conv2d(
            x,
            offset,
            kernel,
            strides=(s, s),
            padding=((p, p), (p, p)),
            dilation=(d, d),
            feature_group_count=g,
        )

    (row,) = cost.analyze(deform, x, (b, e, f, 2 * k * k), kernel).rows
    macs = cost.deform_conv_macs(b, c, m, k, e, f, g)
    assert (row.macs, row.interpolation_macs) == macs

    def shift(x):
        return ops.shift2d(x, ops.grid_displacements(c, 2 * k - 1))

    (row,) = cost.analyze(shift, x).rows
    moved = 8 * (row.bytes_read + row.bytes_written)
    assert (row.macs, moved) == (0, cost.shift_storage_bits(b, c, h, w))

    (row,) = cost.analyze(jnp.dot, (b, c), (c, m)).rows
    assert row.macs == cost.dense_macs(b, c, m)
    moved = 8 * (row.bytes_read + row.bytes_written)
    assert moved == cost.dense_storage_bits(b, c, m)


def test_names_of_other_functions_mean_nothing():
    @jax.jit
    def shift2d(x, w):
        return x @ w

    @jax.jit
    def deform_conv2d(x):
        return x @ x

    assert cost.analyze(shift2d, (3, 3), (3, 3)).macs == 27
    assert cost.analyze(deform_conv2d, (3, 3)).macs == 27


def test_deformable_convolution_under_transformations():
    def deform(x, offset, kernel):
        return ops.deform_conv2d(x, offset, kernel, padding=((1, 1), (1, 1)))

    shapes = (2, 6, 5, 4), (2, 6, 5, 18), (3, 3, 4, 7)
    forward = cost.analyze(deform, *shapes)
    batched = cost.analyze(jax.vmap(deform), *((3, *shape) for shape in shapes))
    (row,) = batched.rows
    assert batched.macs == 3 * forward.macs
    assert row.interpolation_macs == 3 * forward.rows[0].interpolation_macs

    def loss(*arguments):
        return deform(*arguments).sum()

    gradient = cost.analyze(jax.grad(loss, argnums=(0, 1, 2)), *shapes)
    assert gradient.macs == 3 * forward.macs


def test_products_in_unusual_places():
    def in_condition(x):
        return jax.lax.while_loop(lambda y: (y @ y).sum() < 9, lambda y: y + 1, x)

    with pytest.raises(UserError, match="pass trip_count"):
        cost.analyze(in_condition, (3, 3))
    assert cost.analyze(in_condition, (3, 3), trip_count=4).macs == 5 * 27

    def solve(a, b):
        return jax.lax.custom_linear_solve(
            lambda x: a @ x, b, lambda matvec, b: matvec(b), symmetric=True
        )

    with pytest.raises(UserError, match="count it apart"):
        cost.analyze(solve, (3, 3), (3,))
    sizes = jax.ShapeDtypeStruct((2,), jnp.int32)
    assert cost.analyze(jax.lax.ragged_dot, (6, 5), (2, 5, 4), sizes).macs == 6 * 5 * 4
    composite = jax.lax.composite(lambda x, y: x @ y, "product")
    assert cost.analyze(composite, (3, 3), (3, 3)).macs == 27


def test_platforms_by_either_name():
    def product(x):
        return jax.lax.platform_dependent(
            x, cuda=lambda x: x @ x, default=lambda x: x @ x @ x
        )

    assert cost.analyze(product, (3, 3), platform="gpu").macs == 27
    assert cost.analyze(product, (3, 3), platform="cuda").macs == 27
    assert cost.analyze(product, (3, 3), platform="rocm").macs == 2 * 27

    def no_default(x):
        return jax.lax.platform_dependent(x, cpu=lambda x: x @ x, tpu=lambda x: x)

    assert cost.analyze(no_default, (3, 3), platform="cpu").macs == 27
    with pytest.raises(UserError, match="pass platform"):
        cost.analyze(no_default, (3, 3))
