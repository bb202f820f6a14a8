"""ShiftNets and ShiftResNets: the paper's figures, and what a module sees."""

import catalogue
import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import shiftnet, shiftresnet

from cnnjax.models._classifier import make_conv
from cnnjax.models.shiftnet import ShiftModule


def module(join="concatenate", kernel_size=3, strides=1):
    return ShiftModule(
        features=36,
        strides=strides,
        expansion=1,
        kernel_size=kernel_size,
        join=join,
        conv=make_conv,
        norm=lambda name: nn.BatchNorm(use_running_average=True, name=name),
        act=lambda x: x,
    )


@pytest.mark.parametrize(
    ("name", "mega_macs"), [("shiftnet_a", 1424), ("shiftnet_b", 371)]
)
def test_macs_are_those_of_the_paper(name, mega_macs):
    """It prints 1.4 and 0.371 thousand millions."""
    assert round(catalogue.count(name)["macs"] / 1e6) == mega_macs


def test_params_are_those_of_the_paper():
    counts = [shiftnet.NUM_PARAMS[f"shiftnet_{letter}"] for letter in "abc"]
    # It cuts digits off, as for B: its multiply-accumulates leave no other count.
    assert [int(count / 1e4) for count in counts] == [418, 118, 78]


@pytest.mark.parametrize(
    ("depth", "millions"),
    [
        (20, (0.03, 0.10, 0.19, 0.28)),
        (56, (0.10, 0.29, 0.58, 0.87)),
        (110, (0.20, 0.59, 1.18, 1.76)),
    ],
)
def test_params_are_those_of_the_paper_on_cifar(depth, millions):
    found = tuple(
        round(shiftresnet.NUM_PARAMS[f"shiftresnet{depth}_e{expansion}_cifar"] / 1e6, 2)
        for expansion in (1, 3, 6, 9)
    )
    assert found == millions


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_module_sees_the_grid(kernel_size):
    x = jax.random.normal(jax.random.key(1), (1, 7, 7, 36))
    model = module(kernel_size=kernel_size)
    variables = jax.jit(model.init)(jax.random.key(0), x)
    middle = jax.grad(lambda x: model.apply(variables, x)[0, 3, 3].sum())
    seen = np.any(jax.jit(middle)(x)[0] != 0, axis=-1)
    inside = np.abs(np.arange(7) - 3) <= kernel_size // 2
    np.testing.assert_array_equal(seen, inside[:, None] & inside)


@pytest.mark.parametrize("join", ["concatenate", "add"])
def test_odd_sizes(join):
    y, _ = jax.eval_shape(
        module(join, strides=2).init_with_output,
        jax.random.key(0),
        jnp.zeros((1, 5, 8, 10)),
    )
    chex.assert_shape(y, (1, 3, 4, 36))
