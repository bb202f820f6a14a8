"""FCNs are VGGs that look everywhere, and begin as interpolation."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_zoo
from families.fcn import tiny

from cnnjax import ops
from cnnjax.models.vgg import VGG
from cnnjax.segmentation import FCN
from cnnjax.segmentation.fcn import bilinear_init


@pytest.mark.parametrize("factor", [2, 8])
def test_transposed_convolutions_begin_as_interpolation(factor):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 6, 3)), jnp.float32)
    kernel = bilinear_init(jax.random.key(0), (2 * factor, 2 * factor, 3, 3))
    side = factor // 2
    y = ops.conv_transpose2d(
        x, kernel, strides=(factor, factor), padding=((side, side), (side, side))
    )
    expected = ops.resize_bilinear(x, (5 * factor, 6 * factor))
    inside = (slice(None), slice(side, -side), slice(side, -side))
    np.testing.assert_allclose(y[inside], expected[inside], atol=1e-5)
    # Around the image there is nothing, where `resize_bilinear` repeats the border.
    assert np.abs(y[:, 0]).mean() < np.abs(expected[:, 0]).mean()


def test_scores_are_those_of_the_classifier():
    """The dense layers see 7x7 places of the last map; so does the middle one here."""
    options = {"depths": (1,) * 5, "dims": (4,) * 5, "num_classes": 3}
    classifier = VGG(hidden_features=8, **options)
    bare = functools.partial(VGG, **options | {"hidden_features": 0})

    def backbone(**own):
        return bare(**{**own, "num_classes": None})

    net = FCN(classifier=backbone, hidden_features=8, num_classes=3)
    variables = test_zoo.noise(classifier)
    own = dict(variables["params"])
    # From channels, rows, columns to rows, columns, channels.
    dense = own["fc1"]["kernel"].reshape(4, 7, 7, 8).transpose(1, 2, 0, 3)
    layers = {
        "fc6": {"kernel": dense, "bias": own.pop("fc1")["bias"]},
        "fc7": own.pop("fc2"),
        "head": own.pop("head"),
    }
    for layer in ("fc7", "head"):
        kernel = layers[layer]["kernel"][None, None]
        layers[layer] = {**layers[layer], "kernel": kernel}
    up = {"kernel": bilinear_init(jax.random.key(0), (64, 64, 3, 3))}
    images = test_zoo.images(classifier, n=1)
    expected, _ = jax.jit(classifier.apply)(variables, images)
    params = {"backbone": own, **layers, "up": up}
    _, out = jax.jit(net.apply)({"params": params}, images)
    found = out["scores32"][:, 3, 3]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_finer_maps_begin_without_a_say():
    model = tiny(8)
    params = jax.jit(model.init)(jax.random.key(0), test_zoo.images(model))["params"]
    assert {"score16", "score8", "up16", "up8", "up"} < params.keys()
    for name in ("score16", "score8"):
        assert not params[name]["kernel"].any()
    _, variables = test_zoo.shapes(tiny(32))
    assert not {"score16", "score8", "up16"} & variables["params"].keys()


def test_endpoints_hold_the_scores():
    (logits, out), _ = test_zoo.shapes(tiny(8))
    for stride in (32, 16, 8):
        side = 64 // stride
        chex.assert_shape(out[f"scores{stride}"], (2, side, side, 5))
    chex.assert_equal_shape([logits, out["logits"]])


def test_other_sizes_are_errors_that_name_near_ones():
    image = jnp.zeros((1, 70, 20, 3))
    with pytest.raises(ValueError, match=r"70x20 .* 64 or 96 rows and 32 columns"):
        jax.eval_shape(tiny(32).init, jax.random.key(0), image)


def test_needs_maps_of_its_strides():
    resnet = functools.partial(VGG, depths=(1, 1), dims=(4, 4), hidden_features=0)
    with pytest.raises(ValueError, match="strides 1, 2, 4, but none of stride 32"):
        test_zoo.shapes(FCN(classifier=resnet, image_size=32))
