"""The report of what a call costs: models', functions', anybody's."""

import json
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnjax
from cnnjax import cost, ops
from cnnjax.errors import UserError


IMAGE = (2, 16, 16, 3)


@pytest.fixture(scope="module")
def report():
    return cost.analyze(cnnjax.create("resnet20_cifar"), (1, 32, 32, 3))


def test_totals(report):
    assert report.macs == 40_813_184
    assert report.num_params == 272_474
    assert report.param_bits == 32 * 272_474
    assert 0 < report.macs_in_bounds < report.macs
    assert report.storage_bits == report.param_bits + report.activation_bits


def test_rows_are_layers_in_order(report):
    outside, stem, norm = report.rows[:3]
    assert (outside.path, stem.path, norm.path) == ("", "stem", "stem_norm")
    assert stem.output_shape == (1, 32, 32, 16)
    assert stem.macs == 32 * 32 * 16 * 27
    assert stem.num_params == 27 * 16
    assert stem.bytes_read == 4 * (32 * 32 * 3 + 27 * 16)
    assert stem.bytes_written == 4 * 32 * 32 * 16
    assert sum(row.num_params for row in report.rows) == report.num_params


def test_groups_keep_the_totals(report):
    blocks = report.grouped(1)
    assert "stage2_block1" in {row.path for row in blocks.rows}
    assert len(blocks.rows) < len(report.rows)
    (whole,) = report.grouped(0).rows
    assert whole.macs == blocks.macs == report.macs
    assert whole.num_params == report.num_params
    # What layers hand on within a group no longer counts.
    moved = [sum(r.bytes_written for r in x.rows) for x in (report, blocks)]
    assert moved[0] > moved[1] > whole.bytes_written


def test_a_loop_over_blocks_costs_the_same(report):
    scanned = cost.analyze(cnnjax.create("resnet20_cifar", scan=True), (1, 32, 32, 3))
    assert scanned.macs == report.macs
    assert scanned.macs_in_bounds == report.macs_in_bounds
    assert scanned.num_params == report.num_params


def test_training_costs_about_three_times_as_much(report):
    model = cnnjax.create("resnet20_cifar")
    training = cost.analyze(model, (1, 32, 32, 3), with_gradient=True, train=True)
    # The images themselves need no gradient.
    assert training.macs == 3 * report.macs - report.rows[1].macs
    assert training.peak_memory_bytes > 3 * report.peak_memory_bytes


def test_exports(report):
    assert json.loads(report.to_json())["macs"] == report.macs
    assert len(json.loads(report.to_json())["rows"]) == len(report.rows)
    assert report.to_csv().count("\n") == len(report.rows) + 1
    assert report.to_markdown().count("\n") == len(report.rows) + 3
    assert "40.8 M" in str(report) and "stage3_block1/Conv_0" in str(report)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3), name="conv")(x)
        return nn.Dense(5, name="dense")(x.mean(axis=(1, 2)))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        return self.dense(self.conv(x).mean(axis=(1, 2)))


def test_everybody_s_code_costs_the_same():
    linen = cost.analyze(Net(), IMAGE)
    variables = Net().init(jax.random.key(0), jnp.zeros(IMAGE))
    function = cost.analyze(Net().apply, variables, jnp.zeros(IMAGE))
    found = cost.analyze(nnx.eval_shape(lambda: NnxNet(nnx.Rngs(0))), IMAGE)
    macs = 2 * (16 * 16 * 8 * 27 + 8 * 5)
    assert linen.macs == function.macs == found.macs == macs
    assert linen.num_params == found.num_params == 27 * 8 + 8 + 8 * 5 + 5
    assert linen.macs_in_bounds == function.macs_in_bounds == found.macs_in_bounds


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


def test_peak_memory():
    """Products are stored; what is computed number by number is where its input was."""

    def chain(x, a, b):
        return jnp.tanh(jax.nn.relu(x @ a) @ b)

    # Both sides of the second product: [4, 8] and [4, 2] of float32.
    report = cost.analyze(chain, (4, 4), (4, 8), (8, 2))
    assert report.peak_memory_bytes == 4 * (4 * 8 + 4 * 2)

    def kept(x, a):
        y = x @ a
        return y + jnp.tanh(y @ y)

    assert cost.analyze(kept, (4, 4), (4, 4)).peak_memory_bytes == 4 * 2 * 16


def test_rematerialised_training_takes_less_memory():
    def peak(**options):
        model = cnnjax.create("resnet56_cifar", **options)
        training = {"with_gradient": True, "train": True}
        return cost.analyze(model, (8, 32, 32, 3), **training).peak_memory_bytes

    assert 3 * peak(remat=True) < peak()


@pytest.mark.parametrize(
    "name, options, size",
    [("efficientnet_b7", {}, 600), ("resnet1202_cifar", {"scan": True}, 32)],
)
def test_large_networks_take_seconds_and_no_arrays(name, options, size):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "compile" in event else None
    )
    start = time.process_time()
    report = cost.analyze(cnnjax.create(name, **options), (1, size, size, 3))
    assert time.process_time() - start < 10
    assert not [event for event in compiled if "backend_compile" in event]
    assert report.macs > 2e9
    jax.jit(lambda x: x + size)(1.0)  # Whatever computes is compiled, and so noticed.
    assert [event for event in compiled if "backend_compile" in event]


@pytest.mark.parametrize(
    "target, shape",
    [
        (cnnjax.create("resnet20_cifar"), (1, 32, 32)),
        (cnnjax.create("resnet20_cifar"), (1, 32)),
        (nnx.eval_shape(lambda: NnxNet(nnx.Rngs(0))), (1, 32, 32, 4)),
        (lambda x: x.reshape(5), (1, 2)),
        (lambda x: float(x.sum()), (1, 2)),
    ],
)
def test_what_cannot_be_traced_says_what_to_pass(target, shape):
    with pytest.raises(UserError, match=r"pass a shape such as"):
        cost.analyze(target, shape)


def test_a_function_has_no_parameters_to_train():
    with pytest.raises(UserError, match="pass it as"):
        cost.analyze(jnp.sum, (3,), with_gradient=True)


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


def test_loops_keep_what_they_read_and_collect():
    x, w = (100, 50), (50, 200)

    def read(x, w):
        return jax.lax.scan(lambda c, y: (c + y.sum(), None), 0.0, x @ w)[0]

    assert cost.analyze(read, x, w).peak_memory_bytes >= 4 * 100 * 200

    def collect(x, w):
        states = jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), c), x, length=30)[1]
        return jnp.square(states).sum()

    peak = cost.analyze(collect, (10, 10), (10, 10)).peak_memory_bytes
    assert 30 * 400 <= peak < 36 * 400

    def run(scan, ws):
        def body(c, w):
            return jnp.tanh(c @ w), None

        if scan:
            return jax.lax.scan(body, jnp.ones((1000, 8)), ws)[0].sum()
        c = jnp.ones((1000, 8))
        for w in ws:
            c, _ = body(c, w)
        return c.sum()

    gradients = [jax.grad(lambda ws, s=s: run(s, ws)) for s in (True, False)]
    scanned, unrolled = (cost.analyze(g, (20, 8, 8)) for g in gradients)
    # The loop also differentiates by its first carry.
    assert scanned.macs == unrolled.macs + 1000 * 8 * 8
    compiled = jax.jit(gradients[0]).lower(jnp.ones((20, 8, 8))).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes
    assert 0.8 < scanned.peak_memory_bytes / taken < 1.2


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


class Stateful(nn.Module):
    @nn.compact
    def __call__(self, x, training=True):
        kernel = self.param(
            "group", lambda key: {"w": jnp.ones((3, 4)), "b": jnp.ones(4)}
        )
        x = nn.BatchNorm(use_running_average=not training)(
            x @ kernel["w"] + kernel["b"][None]
        )
        kernel_init = nn.with_partitioning(nn.initializers.ones, (None, "m"))
        return nn.WeightNorm(nn.Dense(5, kernel_init=kernel_init))(x)


def test_models_whose_state_changes():
    for training in (True, False):
        report = cost.analyze(Stateful(), (2, 3), training=training)
        assert report.macs >= 2 * (3 * 4 + 4 * 5)
        assert sum(row.num_params for row in report.rows) == report.num_params > 16


class NnxStateful(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.linear(x)))


def test_nnx_models_whose_state_changes():
    model = NnxStateful(nnx.Rngs(0))
    report = cost.analyze(model, (2, 3))
    assert report.macs == 2 * 3 * 4
    assert sum(row.num_params for row in report.rows) == report.num_params == 24
    assert cost.analyze(model, (2, 3), with_gradient=True).macs == 2 * 2 * 3 * 4


def test_every_head_is_differentiated():
    class Heads(nn.Module):
        @nn.compact
        def __call__(self, x):
            return {"a": nn.Dense(4)(x), "b": nn.Dense(5)(x)}

    assert cost.analyze(Heads(), (2, 3), with_gradient=True).macs == 2 * 2 * 3 * 9


def test_forms_of_arguments():
    def product(d, scale=None):
        return d["a"] @ d["b"] * (1.0 if scale is None else scale)

    shapes = {"a": (3, np.int64(4)), "b": [4, 5]}
    assert cost.analyze(product, shapes).macs == 60
    scale = jax.ShapeDtypeStruct((), jnp.float32)
    assert cost.analyze(product, shapes, scale=scale).macs == 60
    assert cost.analyze(lambda pair: pair[0] @ pair[1], ((3, 4), (4, 5))).macs == 60


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


@pytest.mark.parametrize(
    "options, message",
    [
        ({"platform": "banana"}, "unknown platform"),
        ({"trip_count": -4}, "must not be negative"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(UserError, match=message):
        cost.analyze(jnp.dot, (3, 3), (3, 3), **options)


def test_long_kernels_take_no_memory():
    report = cost.analyze(jnp.convolve, (8192,), (8192,))
    assert report.macs_in_bounds == 8192**2


def test_numpy_integers_are_written_as_json():
    def pool(x):
        window = tuple(np.array([1, 2]))
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")

    assert json.loads(cost.analyze(pool, (2, 4)).to_json())["macs"] == 0
