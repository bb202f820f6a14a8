"""AlexNet: the sizes of its maps."""

import jax
import jax.numpy as jnp
import pytest

import cnnjax


@pytest.mark.parametrize(
    ("size", "sides"),
    [
        ((224, 224), ((27, 27), (13, 13), (6, 6))),
        ((63, 95), ((7, 11), (3, 5), (1, 2))),
    ],
)
def test_sizes_of_endpoints(size, sides):
    """Those of PyTorch, whose convolutions and poolings leave odd pixels out."""
    model = cnnjax.create("alexnet")
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    (_, out), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    found = [out[name].shape[1:3] for name in ("stem", "stage1", "stage2")]
    assert tuple(found) == sides


def test_images_too_small_are_refused():
    model = cnnjax.create("alexnet")
    image = jax.ShapeDtypeStruct((1, 62, 63, 3), jnp.float32)
    with pytest.raises(ValueError, match="does not fit images"):
        jax.eval_shape(model.init, jax.random.key(0), image)
