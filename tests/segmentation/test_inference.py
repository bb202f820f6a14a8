"""Images of any size: padded, in tiles, in windows, at several scales."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_zoo

from cnnjax import cost, inference, ops
from cnnjax.segmentation import (
    UNet,
    predict_multiscale,
    predict_padded,
    predict_sliding,
    predict_tiled,
)


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def network(model):
    """Returns a compiled network as a function of images, and its shapes of images."""
    variables = test_zoo.noise(model)
    called = set()
    compiled = jax.jit(lambda x: model.apply(variables, x)[0])

    def apply(x):
        called.add(x.shape)
        return compiled(x)

    return apply, called


def test_tiles_of_a_valid_network_equal_the_whole_everywhere():
    """Though the output of a tile, 12 pixels, is no multiple of the stride, 8."""
    model = UNet(depth=3, features=2, num_classes=3, image_size=100)
    apply, called = network(model)
    predict = functools.partial(
        predict_tiled, apply, images(1, 21, 18, 3), margin=44, stride=8
    )
    assert (model.margin, model.stride) == (44, 8)
    whole = predict((116, 108))
    assert called == {(1, 116, 108, 3)}
    called.clear()
    tiled = predict(100)
    assert called == {(1, 100, 100, 3)}
    assert tiled.shape == (1, 21, 18, 3) and tiled.dtype == np.float32
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.abs(whole).max())
    # Around the image it is mirrored.
    ends = ((0, 0), (44, 51), (44, 46), (0, 0))
    padded = np.pad(images(1, 21, 18, 3), ends, "reflect")
    np.testing.assert_array_equal(whole, np.asarray(apply(padded))[:, :21, :18])


@pytest.fixture(scope="module")
def padded_network():
    model = UNet(
        depth=1,
        features=4,
        num_classes=3,
        padding="same",
        batch_norm=True,
        image_size=32,
    )
    field = cost.receptive_field(model, (1, 64, 64, 3))["logits"]
    margin = model.stride * math.ceil(field.size[0] / 2 / model.stride)
    return *network(model), margin


def test_tiles_of_a_padded_network_equal_the_whole_inside(padded_network):
    """As far from the border as half the receptive field; nearer they differ."""
    apply, called, margin = padded_network
    assert margin == 10
    x = images(2, 38, 46, 3)
    whole = np.asarray(apply(x))
    called.clear()
    tiled = predict_tiled(apply, x, 32, margin=margin, stride=2)
    assert called == {(2, 32, 32, 3)}
    tolerance = 1e-5 * np.abs(whole).max()
    inside = (slice(None), slice(margin, -margin), slice(margin, -margin))
    np.testing.assert_allclose(tiled[inside], whole[inside], atol=tolerance)
    assert np.abs(tiled - whole)[:, 0].max() > 100 * tolerance
    # With less context tiles show.
    tiled = predict_tiled(apply, x, 32, margin=4, stride=2)
    assert np.abs(tiled - whole)[inside].max() > 100 * tolerance


def test_a_tile_may_be_larger_than_the_image(padded_network):
    apply, _, margin = padded_network
    tiled = predict_tiled(apply, images(2, 3, 5, 3), 32, margin=margin, stride=2)
    assert tiled.shape == (2, 3, 5, 3)


def test_tiles_come_from_a_file_and_may_be_labels(tmp_path):
    file = np.memmap(tmp_path / "image", np.uint8, "w+", shape=(1, 70, 50, 3))
    file[...] = np.random.default_rng(0).integers(0, 256, file.shape)

    @jax.jit
    def apply(x):
        return x.argmax(-1, keepdims=True).astype(jnp.int8)

    labels = predict_tiled(apply, file, 16, margin=2, stride=4)
    assert labels.dtype == np.int8
    np.testing.assert_array_equal(labels[..., 0], np.asarray(file).argmax(-1))


def test_a_specialised_model_can_be_tiled():
    model = UNet(depth=1, features=2, image_size=20)
    variables = test_zoo.noise(model)
    fast = inference.specialise(model, variables, (1, 20, 20, 3))
    x = images(1, 9, 5, 3)
    found = predict_tiled(fast, x, 20, margin=8, stride=2)
    expected = predict_tiled(network(model)[0], x, 20, margin=8, stride=2)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def sharpened(x):
    """A network whose answer depends on the place in the window."""
    rows = jnp.arange(1.0, x.shape[1] + 1)[None, :, None, None]
    return x[..., :2] * rows


@pytest.mark.parametrize(
    ("side", "window", "step", "starts"),
    [
        (11, 4, 2, (0, 2, 4, 6, 7)),
        (12, 4, 4, (0, 4, 8)),
        (4, 4, 1, (0,)),
        (3, 5, 2, (0,)),
    ],
)
def test_windows_are_averaged(side, window, step, starts):
    x = images(2, side, 6, 3)
    found = predict_sliding(sharpened, x, (window, 6), (step, 6))
    for row in range(side):
        places = [row - s + 1 for s in starts if s <= row < s + window]
        expected = x[:, row, :, :2] * np.mean(places, dtype=np.float32)
        np.testing.assert_allclose(found[:, row], expected, rtol=1e-5)


def test_columns_slide_too():
    x = images(1, 3, 11, 2)
    found = predict_sliding(
        lambda x: sharpened(x.swapaxes(1, 2)).swapaxes(1, 2), x, (3, 4), (3, 2)
    )
    expected = predict_sliding(sharpened, x.swapaxes(1, 2), (4, 3), (2, 3))
    np.testing.assert_allclose(found, expected.swapaxes(1, 2), rtol=1e-6)


@pytest.mark.parametrize("size", [(5, 7), (16, 8), (1, 2), (9, 31)])
def test_padding_to_the_stride_is_cropped_again(size):
    seen = []

    def apply(x):
        seen.append(x)
        return 2 * x

    x = images(1, *size, 3)
    found = predict_padded(apply, x, 8)
    np.testing.assert_array_equal(found, 2 * x)
    ends = [(0, -side % 8) for side in size]
    # NumPy's own mirror, which repeats itself as often as it has to.
    np.testing.assert_array_equal(
        seen[0], np.pad(x, ((0, 0), *ends, (0, 0)), "reflect")
    )
    traced = jax.jit(lambda x: predict_padded(apply, x, 8))(x)
    np.testing.assert_array_equal(traced, 2 * x)


def test_scales_and_flips_are_averaged():
    x = jnp.asarray(images(1, 6, 8, 2))

    def shifted(x):  # To the right; of the mirror image, to the left.
        return jnp.roll(x, 1, axis=2)

    one = predict_multiscale(shifted, x, (1.0,), flip=False)
    np.testing.assert_allclose(one, shifted(x), rtol=1e-6)
    both = jax.jit(lambda x: predict_multiscale(shifted, x, (1.0,)))(x)
    expected = (jnp.roll(x, 1, axis=2) + jnp.roll(x, -1, axis=2)) / 2
    np.testing.assert_allclose(both, expected, rtol=1e-5, atol=1e-6)
    sizes = [(3, 4), (12, 16)]
    found = predict_multiscale(jnp.square, x, (0.5, 2.0), flip=False)
    expected = sum(
        ops.resize_bilinear(jnp.square(ops.resize_bilinear(x, size)), (6, 8))
        for size in sizes
    )
    np.testing.assert_allclose(found, expected / 2, rtol=1e-5, atol=1e-6)


def test_scales_of_a_network_that_takes_multiples_only(padded_network):
    apply, called, _ = padded_network
    x = jnp.asarray(images(2, 38, 46, 3))
    called.clear()
    any_size = functools.partial(predict_padded, apply, stride=2)
    found = predict_multiscale(any_size, x, (0.5, 1.0))
    assert called == {(2, 20, 24, 3), (2, 38, 46, 3)}
    assert found.shape == (2, 38, 46, 3)


X = images(1, 8, 8, 3)
BAD = {
    "no room": (
        lambda: predict_tiled(sharpened, X, 8, margin=4, stride=1),
        "a margin of 4 leaves less than a stride, 1 pixels, of a tile of 8x8",
    ),
    "no stride": (
        lambda: predict_tiled(sharpened, X, 8, margin=2, stride=8),
        "leaves less than a stride, 8 pixels",
    ),
    "negative": (
        lambda: predict_tiled(sharpened, X, 8, margin=-1, stride=1),
        "a margin of -1",
    ),
    "less than the margin leaves": (
        lambda: predict_tiled(lambda x: x[:, 3:-3, 3:-3], X, 8, margin=2, stride=1),
        "returns 2x2 pixels for a tile of 8x8, which a margin of 2 does not fit",
    ),
    "not in the middle": (
        lambda: predict_tiled(lambda x: x[:, 1:], X, 8, margin=2, stride=1),
        "returns 7x8 pixels",
    ),
    "a step too far": (
        lambda: predict_sliding(sharpened, X, 4, 5),
        "must be from 1 to the window",
    ),
    "no step": (lambda: predict_sliding(sharpened, X, 4, 0), "must be from 1"),
    "no scales": (lambda: predict_multiscale(sharpened, X, ()), "at least one, not"),
    "scale 0": (lambda: predict_multiscale(sharpened, X, (1.0, 0.0)), "be positive"),
    "stride 0": (lambda: predict_padded(sharpened, X, 0), "at least 1, not 0"),
    "no pixels": (lambda: predict_padded(sharpened, X[:, :0], 2), "with pixels"),
    "no batch": (lambda: predict_sliding(sharpened, X[0], 4, 2), "n, h, w, c"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_an_error_that_says_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
