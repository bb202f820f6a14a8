"""ConvNeXt: what it begins as, images of any size."""

import jax
import jax.numpy as jnp
import numpy as np

import cnnjax
from cnnjax.models.convnext import ConvNeXt


def test_begins_as_a_network_without_blocks():
    """The residual branches are scaled by 1e-6."""
    model = ConvNeXt(depths=(1,), features=8, drop_path_rate=0.0, image_size=8)
    x = jax.random.normal(jax.random.key(1), (1, 8, 8, 3))
    (_, out), _ = jax.jit(model.init_with_output)(jax.random.key(0), x)
    np.testing.assert_allclose(out["stem"], out["stage1"], atol=1e-4)
    assert np.any(out["stem"] != out["stage1"])


def test_patches_that_do_not_fit_are_left_out():
    model = cnnjax.create("convnext_tiny")
    image = jax.ShapeDtypeStruct((1, 225, 191, 3), jnp.float32)
    (_, out), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    sides = [out[f"stage{i}"].shape[1:3] for i in (1, 2, 3, 4)]
    assert sides == [(56, 47), (28, 23), (14, 11), (7, 5)]


def test_larger_images_need_no_other_parameters():
    small, large = (
        cnnjax.weights.shapes_of(cnnjax.create("convnext_base", image_size=size))
        for size in (224, 384)
    )
    assert small == large
