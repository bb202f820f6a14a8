"""Swin Transformers: windows that move, maps that do not fill them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import cnnjax
from cnnjax.models.swin import WindowAttention


def seen(height, width, window, shift):
    """Whether the pixel (first pair of axes) depends on another one."""
    layer = WindowAttention(1, window, shift, linen.Dense, jnp.float32)
    x = jax.random.normal(jax.random.key(1), (1, height, width, 4))

    @jax.jit
    def jacobian(x):
        variables = layer.init(jax.random.key(0), x)
        return jax.jacrev(lambda x: layer.apply(variables, x)[0].sum(-1))(x)

    return np.any(np.abs(jacobian(x)) > 1e-30, axis=(2, -1))


@pytest.mark.parametrize("shift", [0, 1])
def test_a_pixel_sees_its_window_and_no_other(shift):
    """Also in a map of 7x5 pixels, which windows of 3x3 do not fill."""
    found = seen(7, 5, 3, shift)
    row, column = ((np.arange(side) - shift) // 3 for side in (7, 5))
    same_row = row[:, None] == row
    same_column = column[:, None] == column
    expected = same_row[:, None, :, None] & same_column[None, :, None, :]
    np.testing.assert_array_equal(found, expected)


def test_windows_move_only_along_an_axis_that_has_more_than_one():
    found = seen(6, 3, 3, 1)
    assert found[:, 0, :, 2].any()
    assert not found[0, :, 1:].any()
    assert found[1, :, 3].all()


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((225, 193), [(56, 48), (28, 24), (14, 12), (7, 6)]),
        ((100, 36), [(25, 9), (13, 5), (7, 3), (4, 2)]),
    ],
)
def test_odd_maps_are_padded_before_they_are_merged(size, sides):
    model = cnnjax.create("swin_t")
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    (_, out), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    assert [out[f"stage{i}"].shape[1:3] for i in (1, 2, 3, 4)] == sides


def test_parameters_may_be_arrays_of_numpy():
    layer = WindowAttention(2, 3, 0, linen.Dense, jnp.float32)
    x = jnp.ones((1, 6, 6, 4))
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    variables = jax.tree.map(lambda a: np.ones(a.shape, np.float32), variables)
    assert jax.eval_shape(lambda x: layer.apply(variables, x), x).shape == x.shape


def test_blocks_come_in_pairs():
    model = cnnjax.create("swin_t", depths=(2, 1))
    with pytest.raises(cnnjax.errors.UserError, match="pairs"):
        cnnjax.weights.shapes_of(model)
