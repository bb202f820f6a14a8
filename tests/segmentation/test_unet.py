"""U-Nets: sizes, and what skips and padding change."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_zoo

import cnnjax
from cnnjax.segmentation import UNet


def tiny(depth, **options):
    return UNet(depth=depth, features=2, num_classes=3, **options)


def outputs(model, *sides):
    images = jax.ShapeDtypeStruct((1, *sides, 1), jnp.float32)
    return jax.eval_shape(model.init_with_output, jax.random.key(0), images)[0]


def test_sizes_are_the_papers():
    """Fig. 1; its maps are 568, 280, 136, 64, 28, then 52, 100, 196 and 388 wide."""
    model = cnnjax.create("unet")
    (logits, out), _ = test_zoo.shapes(model)
    chex.assert_shape(logits, (2, 388, 388, 2))
    widths = {f"stage{i}": w for i, w in enumerate((568, 280, 136, 64, 28), start=1)}
    widths |= {f"decoder{i}": w for i, w in enumerate((388, 196, 100, 52), start=1)}
    for name, width in widths.items():
        features = 64 * 2 ** (int(name[-1]) - 1)
        chex.assert_shape(out[name], (2, width, width, features))
    assert model.margin == (572 - 388) // 2 and model.stride == 16


@pytest.mark.parametrize("depth", range(5))
def test_margin_and_sizes_at_any_depth(depth):
    model = tiny(depth)
    with pytest.raises(ValueError, match="near these are") as error:
        outputs(model, 1, 1)
    least = int(str(error.value).split("near these are ")[1].split()[0])
    sizes = (least, least + 3 * model.stride)
    logits, _ = outputs(model, *sizes)
    chex.assert_shape(logits, (1, *(size - 2 * model.margin for size in sizes), 3))
    # No smaller image has an output.
    assert least - 2 * model.margin - model.stride <= 0
    for size in range(sizes[0] + 1, sizes[0] + model.stride):
        with pytest.raises(ValueError, match=f"{least} or {least + model.stride} rows"):
            outputs(model, size, least)


@pytest.mark.parametrize(
    ("options", "sides", "message"),
    [
        ({}, (570, 572), "570x572 .* 556 or 572 rows and 572 columns"),
        ({}, (100, 572), "100x572 .* 188 rows and 572 columns"),
        ({"padding": "same"}, (50, 7), "50x7 .* 48 or 64 rows and 16 columns"),
    ],
)
def test_sizes_that_do_not_fit_are_errors_that_name_near_ones(options, sides, message):
    with pytest.raises(ValueError, match=message):
        outputs(tiny(4, **options), *sides)


def test_padded_sizes():
    (logits, out), _ = test_zoo.shapes(cnnjax.create("unet_padded", features=2))
    chex.assert_shape(logits, (2, 256, 256, 2))
    for i in range(1, 5):
        side = 256 // 2 ** (i - 1)
        chex.assert_shape(out[f"stage{i}"], (2, side, side, 2**i))
        chex.assert_equal_shape([out[f"stage{i}"], out[f"decoder{i}"]])


def test_without_skips_the_decoder_sees_the_coarser_map_alone():
    """As if the kernel's part for the skipped maps, the first channels, were 0."""
    model = UNet(
        depth=1, features=4, num_classes=3, padding="same", image_size=8, skips=False
    )
    with_skips = model.clone(skips=True)
    shapes = [test_zoo.shapes(m)[1]["params"] for m in (model, with_skips)]
    kernels = [p["decoder1"]["Conv_0"]["kernel"].shape for p in shapes]
    assert kernels == [(3, 3, 4, 4), (3, 3, 8, 4)]
    variables = test_zoo.noise(with_skips)
    kernel = variables["params"]["decoder1"]["Conv_0"]["kernel"]
    silent = jax.tree.map(lambda a: a, variables)
    silent["params"]["decoder1"]["Conv_0"]["kernel"] = kernel * (
        np.arange(8) >= 4
    ).reshape(1, 1, 8, 1).astype(np.float32)
    without = jax.tree.map(lambda a: a, variables)
    without["params"]["decoder1"]["Conv_0"]["kernel"] = kernel[:, :, 4:]
    images = test_zoo.images(with_skips)
    apply = jax.jit(with_skips.apply)
    expected, _ = apply(silent, images)
    found, _ = jax.jit(model.apply)(without, images)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    assert not np.allclose(apply(variables, images)[0], expected, rtol=1e-3)


def test_a_valid_networks_output_has_seen_nothing_but_image():
    """It is the padded network's, where that sees none of its padding.

    With one pooling: with more, the valid network's windows begin at other pixels.
    """
    valid = tiny(1, image_size=24, dropout_rate=0.0)
    padded = valid.clone(padding="same")
    images, variables = test_zoo.images(padded), test_zoo.noise(valid)
    found, _ = jax.jit(valid.apply)(variables, images)
    expected, _ = jax.jit(padded.apply)(variables, images)
    margin = valid.margin
    chex.assert_shape(found, (2, 8, 8, 3))
    inside = expected[:, margin:-margin, margin:-margin]
    np.testing.assert_allclose(found, inside, atol=1e-5 * np.abs(inside).max())


def test_dropout_is_at_the_end_of_the_contracting_path():
    model = tiny(2, padding="same", dropout_rate=0.9, image_size=16)
    images = test_zoo.images(model)
    variables = test_zoo.noise(model)
    _, kept = model.apply(variables, images)
    _, dropped = model.apply(
        variables, images, train=True, rngs={"dropout": jax.random.key(0)}
    )
    np.testing.assert_array_equal(kept["stage1"], dropped["stage1"])
    for stage in ("stage2", "stage3"):
        assert (dropped[stage] == 0).mean() > 0.7 > (kept[stage] == 0).mean()
