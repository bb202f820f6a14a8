"""DeiT takes images of one size."""

import jax
import jax.numpy as jnp
import pytest

import cnnjax


@pytest.mark.parametrize("size", [(224, 192), (240, 240)])
def test_images_have_the_size_of_the_positions(size):
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    model = cnnjax.create("deit_small")
    with pytest.raises(cnnjax.errors.UserError, match="image_size=224"):
        jax.eval_shape(model.init, jax.random.key(0), image)


def test_other_sizes_have_other_positions():
    shapes = cnnjax.weights.shapes_of(cnnjax.create("deit_small", image_size=391))
    assert shapes["params/position_embedding"].shape == (1, 24**2 + 1, 384)
