"""Means are exact over any split of the data."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.metrics import Mean


def test_masked_values_do_not_count():
    mean = Mean.of(jnp.array([1.0, jnp.nan, 3.0]), jnp.array([True, False, True]))
    assert mean.compute() == 2.0


def test_any_split_gives_the_same_mean():
    values = jnp.arange(10) < 3
    mask = jnp.arange(10) != 5
    whole = Mean.of(values, mask)
    for i in range(1, 10):
        parts = Mean.of(values[:i], mask[:i]) + Mean.of(values[i:], mask[i:])
        assert parts.compute() == whole.compute() == 3 / 9


def test_devices_add_up():
    values, mask = jnp.arange(4.0).reshape(2, 2), jnp.ones((2, 2), bool)
    mean = jax.vmap(
        lambda v, m: jax.lax.psum(Mean.of(v, m), "batch"), axis_name="batch"
    )(values, mask)
    np.testing.assert_array_equal(mean.total, [6.0, 6.0])
    np.testing.assert_array_equal(mean.count, [4.0, 4.0])


def test_nothing_counted_is_nan():
    assert np.isnan(Mean.of(jnp.ones(3), jnp.zeros(3, bool)).compute())
