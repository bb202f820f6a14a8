"""ResNets with dilated and with deformable blocks."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_zoo import noise

from cnnjax.models.resnet import BasicBlock, Bottleneck, ResNet


def tiny(block, **options):
    return ResNet(
        depths=(1, 1, 2, 2), block=block, num_classes=3, image_size=64, **options
    )


@pytest.fixture(scope="module", params=[BasicBlock, Bottleneck])
def plain(request):
    """A kind of blocks, variables, images, endpoints."""
    model = tiny(request.param)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(1, 64, 64, 3)), jnp.float32)
    variables = noise(model)
    return request.param, variables, images, jax.jit(model.apply)(variables, images)[1]


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_blocks_compute_the_same_at_more_places(plain, output_stride):
    """Where the strided network looks, the dilated one sees the very same pixels."""
    block, variables, images, strided = plain
    model = tiny(block, output_stride=output_stride)
    _, dilated = jax.jit(model.apply)(variables, images)
    for stage, stride in ((2, 8), (3, 16), (4, 32)):
        found, expected = dilated[f"stage{stage}"], strided[f"stage{stage}"]
        side = 64 // min(stride, output_stride)
        chex.assert_shape(found, (1, side, side, None))
        step = max(1, stride // output_stride)
        tolerance = 1e-5 * np.std(expected)
        assert tolerance > 0
        np.testing.assert_allclose(found[:, ::step, ::step], expected, atol=tolerance)


@pytest.mark.parametrize("output_stride", [8, pytest.param(32, marks=pytest.mark.slow)])
def test_deformable_blocks_begin_as_plain_ones(plain, output_stride):
    """Also where they are dilated; only the last n blocks have offsets."""
    block, variables, images, _ = plain
    model = tiny(block, output_stride=output_stride)
    expected, _ = jax.jit(model.apply)(variables, images)
    model = model.clone(deformable_blocks=3)
    own = jax.jit(model.init)(jax.random.key(0), images)

    def with_kernels(path, value):
        names = [entry.key for entry in path]
        if "offset" in names:
            return value
        return functools.reduce(lambda node, name: node[name], names, variables)

    offsets = {p[1].key for p, _ in jax.tree.leaves_with_path(own) if len(p) == 5}
    assert offsets == {"stage3_block2", "stage4_block1", "stage4_block2"}
    merged = jax.tree.map_with_path(with_kernels, own)
    logits, _ = jax.jit(model.apply)(merged, images)
    tolerance = 1e-5 * np.std(expected)
    assert tolerance > 0
    np.testing.assert_allclose(logits, expected, atol=tolerance)
