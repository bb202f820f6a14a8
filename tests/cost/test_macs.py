"""MACs equal the closed forms, and what PyTorch's counter finds."""

import catalogue
import golden_files
import jax
import jax.numpy as jnp
import pytest

import cnnjax
from cnnjax import cost, ops
from cnnjax.cli import models


def shape(*sides):
    return jax.ShapeDtypeStruct(sides, jnp.float32)


X, KERNEL = shape(2, 9, 7, 8), shape(3, 3, 4, 6)


@pytest.mark.parametrize("conv", [jax.lax, ops], ids=["lax", "ops"])
def test_convolution(conv):
    def strided(x, kernel):
        return conv.conv_general_dilated(
            x,
            kernel,
            (2, 2),
            ((1, 1), (1, 1)),
            feature_group_count=2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    # Batch, rows, columns, output channels; taps, input channels of a group.
    assert cost.analyze(strided, X, KERNEL).macs == 2 * 5 * 4 * 6 * (3 * 3 * 4)


def test_transposed_convolution_counts_its_inputs():
    def upsample(x, kernel):
        return ops.conv_transpose2d(x, kernel, strides=(2, 2), feature_group_count=2)

    kernel = shape(3, 3, 8, 3)
    assert cost.analyze(upsample, X, kernel).macs == 2 * 9 * 7 * 8 * (3 * 3 * 3)


def test_products_inside_of_transformations():
    def product(x, y):
        return jnp.einsum("bij,bjk->bik", x, y)

    def looped(x, y):
        step = jax.checkpoint(lambda carry, _: (jax.jit(product)(carry, y), None))
        return jax.lax.scan(step, x, None, length=5)[0]

    assert cost.analyze(product, shape(3, 4, 6), shape(3, 6, 7)).macs == 3 * 4 * 6 * 7
    assert cost.analyze(looped, shape(3, 4, 6), shape(3, 6, 6)).macs == 5 * 3 * 4 * 36


@pytest.fixture(scope="module")
def known():
    return models.catalogue()


def test_catalogue_has_every_variant(known):
    assert sorted(known) == cnnjax.list_models()


@pytest.mark.parametrize(("file", "name"), golden_files.models().items())
def test_catalogue_has_what_pytorch_counts(file, name, known):
    golden = golden_files.arrays(file)
    assert known[name] == {
        "num_params": golden["params"],
        "macs": golden["macs"],
        "image_size": golden["input_hw"][0],
    }


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("fasterrcnn_resnet50_fpn", 134.38),
        ("retinanet_resnet50_fpn", 151.54),
        ("fcos_resnet50_fpn", 128.207),
        ("ssd300_vgg16", 34.858),
    ],
)
def test_catalogue_has_what_torchvision_says_of_detectors(name, published, known):
    """In G-MACs, of images of 800 pixels (SSD: 300): its weights' `_ops`."""
    assert known[name]["macs"] / 1e9 == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_catalogue_is_what_is_counted(name, known):
    assert catalogue.count(name) == known[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", cnnjax.list_models())
def test_whole_catalogue_is_what_is_counted(name, known):
    assert catalogue.count(name) == known[name]
