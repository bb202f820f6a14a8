"""ShuffleNets, version 2: half of the channels pass."""

import flax.linen as nn
import jax
import numpy as np

from cnnjax.models._classifier import make_conv
from cnnjax.models.shufflenet_v2 import SplitUnit


def test_half_of_the_channels_pass_a_unit_without_a_stride():
    unit = SplitUnit(
        features=8,
        strides=1,
        conv=make_conv,
        norm=lambda name: nn.BatchNorm(use_running_average=True, name=name),
        act=nn.relu,
    )
    x = jax.random.normal(jax.random.key(1), (1, 3, 3, 8))
    y, _ = jax.jit(unit.init_with_output)(jax.random.key(0), x)
    np.testing.assert_array_equal(y[..., ::2], x[..., :4])
    assert not np.allclose(y[..., 1::2], x[..., 4:])
