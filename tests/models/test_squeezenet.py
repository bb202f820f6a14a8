"""SqueezeNet: the sizes of its maps, its head, normalised fire modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import weights
from cnnjax.models.squeezenet import SqueezeNet


def endpoints(name, size):
    model = cnnjax.create(name)
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    (_, out), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), image)
    return out


@pytest.mark.parametrize(
    ("name", "size", "sides"),
    [
        ("squeezenet1_0", (224, 224), [(54, 54), (54, 54), (27, 27), (13, 13)]),
        ("squeezenet1_1", (225, 193), [(56, 48), (56, 48), (28, 24), (14, 12)]),
        ("squeezenet1_0", (21, 21), [(4, 4), (4, 4), (2, 2), (1, 1)]),
        ("squeezenet1_1", (17, 17), [(4, 4), (4, 4), (2, 2), (1, 1)]),
    ],
)
def test_sizes_of_endpoints(name, size, sides):
    """Those of PyTorch's ceil mode."""
    out = endpoints(name, size)
    found = [out[key].shape[1:3] for key in ("stem", "stage1", "stage2", "stage3")]
    assert found == sides


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1"])
def test_images_too_small_are_refused(name):
    with pytest.raises(ValueError, match="does not fit images"):
        endpoints(name, (16, 32))


def test_fire_modules_can_be_normalised():
    """Each of their convolutions has a norm instead of a bias."""
    plain = weights.shapes_of(cnnjax.create("squeezenet1_1"))
    found = weights.shapes_of(cnnjax.create("squeezenet1_1", batch_norm=True))
    biases = {path for path in plain if "_block" in path and path.endswith("/bias")}
    assert plain.keys() - found.keys() == biases
    statistics = {path for path in found if path.startswith("batch_stats/")}
    assert len(statistics) == 2 * 3 * 8  # Mean and variance, three in each of eight.


def test_features_are_means_over_the_last_maps():
    model = SqueezeNet(
        stem_features=4,
        stem_kernel_size=3,
        depths=(1, 1, 1),
        dims=(8, 8, 8),
        num_classes=None,
    )
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 33, 33, 3)).astype(np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape)), shapes)
    features, out = jax.jit(model.apply)(variables, images)
    means = np.mean(out["stage3"], axis=(1, 2))
    assert np.std(means) > 0
    np.testing.assert_allclose(features, means, rtol=1e-5)
