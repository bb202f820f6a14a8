"""The report of what a call costs: models', functions', anybody's."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import cnnjax
from cnnjax import cost
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


def test_numpy_integers_are_written_as_json():
    def pool(x):
        window = tuple(np.array([1, 2]))
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")

    assert json.loads(cost.analyze(pool, (2, 4)).to_json())["macs"] == 0
