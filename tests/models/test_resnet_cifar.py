"""CIFAR ResNets: their shortcuts, and depth that costs no compile time."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import cnnjax
from cnnjax.models._classifier import make_conv
from cnnjax.models.resnet_cifar import CifarBlock


def block(shortcut):
    return CifarBlock(
        features=4,
        strides=2,
        shortcut=shortcut,
        conv=make_conv,
        norm=lambda name=None: nn.BatchNorm(use_running_average=True, name=name),
        act=lambda x: x,
    )


def test_option_a_passes_every_other_pixel_and_zeros():
    x = jax.random.normal(jax.random.key(1), (1, 4, 4, 2))
    variables = block("pad").init(jax.random.key(0), x)
    outputs = {kind: block(kind).apply(variables, x) for kind in ("pad", "none")}
    shortcut = outputs["pad"] - outputs["none"]
    np.testing.assert_allclose(shortcut[..., :2], x[:, ::2, ::2], atol=1e-6)
    np.testing.assert_array_equal(shortcut[..., 2:], 0.0)


@pytest.mark.parametrize("shortcut", ["pad", "none"])
def test_only_projections_have_parameters(shortcut):
    paths, without = (
        cnnjax.weights.shapes_of(cnnjax.create("resnet20_cifar", shortcut=kind)).keys()
        for kind in ("projection", shortcut)
    )
    assert without == {path for path in paths if "_proj/" not in path}
    assert len(without) < len(paths)
