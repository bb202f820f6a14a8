"""DeepLab's pyramid and decoder; version 3's numbers are in the golden files."""

import chex
import jax
import jax.numpy as jnp
import pytest
import test_zoo
from families.dilated_fcn import RESNET

from cnnjax.segmentation import DeepLabV3, DeepLabV3Plus


@pytest.mark.parametrize("kind", [DeepLabV3, DeepLabV3Plus])
@pytest.mark.parametrize(
    ("output_stride", "rates"), [(8, {12, 24, 36}), (16, {6, 12, 18})]
)
def test_dilations_see_the_same_part_of_the_image_at_any_stride(
    kind, output_stride, rates
):
    found = set()

    def convolution(*arguments, rhs_dilation, **options):
        found.update(rhs_dilation)
        return jax.lax.conv_general_dilated(
            *arguments, rhs_dilation=rhs_dilation, **options
        )

    model = kind(
        classifier=RESNET,
        output_stride=output_stride,
        conv_general_dilated=convolution,
        image_size=64,
    )
    test_zoo.shapes(model)
    assert {rate for rate in found if rate > 2} == rates  # 2 is the ResNet's.


def test_version_3_plus_joins_the_map_of_stride_4():
    model = DeepLabV3Plus(classifier=RESNET, image_size=64)
    (_, out), variables = test_zoo.shapes(model)
    params = variables["params"]
    chex.assert_shape(out["aspp"], (2, 4, 4, 256))
    chex.assert_shape(params["low_level"]["kernel"], (1, 1, 64, 48))
    chex.assert_shape(params["conv1"]["kernel"], (3, 3, 48 + 256, 256))
    chex.assert_shape(out["pre_logits"], (2, 16, 16, 256))


def test_the_mean_sees_the_whole_image():
    """Beyond what the dilated convolutions reach."""
    model = DeepLabV3(classifier=RESNET, num_classes=2, image_size=32)
    variables = test_zoo.noise(model)
    images = jnp.zeros((1, 16, 1024, 3))
    moved = images.at[:, :, -1].set(1.0)
    apply = jax.jit(lambda x: model.apply(variables, x)[0][:, :, 0])
    assert jnp.abs(apply(moved) - apply(images)).min() > 0
