"""ShuffleNets, version 1: the paper's cost, and what the shuffle is for."""

import catalogue
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.models._classifier import make_conv
from cnnjax.models.shufflenet_v1 import ShuffleNetV1, ShuffleUnit


@pytest.mark.parametrize(
    ("name", "mega_macs"),
    [
        ("shufflenet_v1_g3_x2_0", 524),
        ("shufflenet_v1_g3_x2_0_se", 527),
        ("shufflenet_v1_g3_x1_5", 292),
        ("shufflenet_v1_g3_x0_5_shallow", 40),
    ],
)
def test_macs_are_those_of_table_5(name, mega_macs):
    assert round(catalogue.count(name)["macs"] / 1e6) == mega_macs


@pytest.mark.parametrize(
    ("name", "mega_macs"),
    [("shufflenet_v1_g8", 140), ("shufflenet_v1_g4_x0_5", 38)],
)
def test_macs_are_near_those_that_the_paper_gives_for_all_groups(name, mega_macs):
    """Table 2 has one number for each width; 138.4 and 37.5 are the exact ones."""
    macs = catalogue.count(name)["macs"] / 1e6
    assert macs == pytest.approx(mega_macs, rel=0.015)


@pytest.mark.parametrize("shuffle", [False, True])
def test_only_a_shuffle_lets_groups_see_each_other(shuffle):
    unit = ShuffleUnit(
        features=16,
        strides=1,
        first_groups=2,
        groups=2,
        shuffle=shuffle,
        squeeze_excite=None,
        conv=make_conv,
        norm=lambda name: nn.BatchNorm(use_running_average=True, name=name),
        act=lambda x: x,
    )
    x = jax.random.normal(jax.random.key(1), (1, 3, 3, 16))
    variables = jax.jit(unit.init)(jax.random.key(0), x)
    seen = jax.grad(lambda x: unit.apply(variables, x)[..., :8].sum())
    gradient = jax.jit(seen)(x)
    assert np.all(gradient[..., :8] != 0)
    assert np.any(gradient[..., 8:] != 0) == shuffle


def test_only_the_groups_of_table_1():
    model = ShuffleNetV1(groups=5)
    with pytest.raises(cnnjax.errors.UserError, match="groups must be"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
