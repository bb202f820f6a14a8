"""VGG: images of other sizes."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import weights


def test_odd_pixels_are_left_out():
    model = cnnjax.create("vgg11")
    image = jax.ShapeDtypeStruct((1, 225, 193, 3), jnp.float32)
    (_, out), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    assert out["stem"].shape[1:3] == (225, 193)
    assert out["stage5"].shape[1:3] == (7, 6)


def test_images_too_small_are_refused():
    model = cnnjax.create("vgg11")
    image = jax.ShapeDtypeStruct((1, 31, 32, 3), jnp.float32)
    with pytest.raises(ValueError, match="does not fit images"):
        jax.eval_shape(model.init, jax.random.key(0), image)


def test_reads_dense_layers_that_are_convolutions():
    """As timm has them."""
    options = {"dims": (4, 4, 4, 4, 6), "hidden_features": 8, "num_classes": 3}
    shapes = weights.shapes_of(cnnjax.create("vgg11", **options))
    rng = np.random.default_rng(0)
    flat = {path: np.float32(rng.normal(size=a.shape)) for path, a in shapes.items()}
    variables = flax.traverse_util.unflatten_dict(flat, sep="/")
    state = weights.to_torch("vgg11", variables, **options)
    kernels = {"classifier.0.weight": (8, 6, 7, 7), "classifier.3.weight": (8, 8, 1, 1)}
    theirs = {
        "classifier.0": "pre_logits.fc1",
        "classifier.3": "pre_logits.fc2",
        "classifier.6": "head.fc",
    }
    renamed = {}
    for key, value in state.items():
        module, _, leaf = key.rpartition(".")
        value = value.reshape(kernels.get(key, value.shape))
        renamed[f"{theirs.get(module, module)}.{leaf}"] = value
    found = weights.from_torch("vgg11", renamed, **options)
    jax.tree.map(np.testing.assert_array_equal, found, variables)
