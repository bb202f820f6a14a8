"""NIN: its head."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.models.nin import NIN


def test_logits_are_means_of_maps_that_are_never_negative():
    model = NIN(dims=((4, 4, 4), (4, 4, 4), (4, 4)), num_classes=3, image_size=7)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 5, 3)), "float32")
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape)), shapes)
    logits, out = jax.jit(model.apply)(variables, images)
    head = variables["params"]["head"]
    last = np.asarray(out["stage3"])
    maps = last @ head["kernel"][0, 0] + head["bias"]
    expected = np.maximum(maps, 0).mean(axis=(1, 2))
    assert (maps < 0).any() and (maps > 0).any()
    np.testing.assert_allclose(logits, expected, rtol=1e-4)
    np.testing.assert_allclose(out["pre_logits"], last.mean(axis=(1, 2)), rtol=1e-5)
