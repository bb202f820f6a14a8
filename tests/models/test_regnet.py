"""RegNets: their stages by rule, blocks as a loop, timm's names of weights."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.models.regnet import RegNet, quantised_linear


@pytest.mark.parametrize(
    ("settings", "depths", "widths", "group_width"),
    [
        ((22, 24, 24.48, 2.54, 16), [1, 2, 7, 12], [32, 64, 160, 400], 16),
        ((23, 320, 69.86, 2.0, 168), [2, 7, 13, 1], [336, 672, 1344, 2520], 168),
        ((18, 200, 106.23, 2.48, 112), [2, 4, 11, 1], [224, 448, 1232, 3024], 112),
    ],
    ids=["x_400mf", "x_32gf", "y_16gf"],
)
def test_has_the_papers_stages(settings, depths, widths, group_width):
    """Depths and widths as the paper's appendix has them (400MF's of torchvision)."""
    stages = quantised_linear(*settings)
    assert [stage.depth for stage in stages] == depths
    assert [stage.width for stage in stages] == widths
    assert {stage.group_width for stage in stages} == {group_width}


@pytest.mark.parametrize(
    "settings",
    [
        (0, 24, 24.0, 2.5, 8),
        (9, 20, 24.0, 2.5, 8),
        (9, 24, -1.0, 2.5, 8),
        (9, 24, 24.0, 1.0, 8),
        (9, 24, 24.0, 2.5, 0),
    ],
)
def test_a_network_outside_the_design_space_raises(settings):
    with pytest.raises(cnnjax.errors.UserError, match="w_0 that is a multiple of 8"):
        quantised_linear(*settings)


def test_scan_computes_the_same():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, 32, 32, 3)), jnp.float32)
    # One stage of three blocks, as its width does not grow.
    model = RegNet(
        depth=3,
        w_0=8,
        w_a=0.0,
        w_m=2.0,
        group_width=4,
        squeeze_ratio=0.25,
        num_classes=10,
        conv_general_dilated=jax.lax.conv_general_dilated,
    )
    scanned = model.clone(scan=True)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), images)
    # Kernels have either sign; variances, among others, are positive.
    variables = jax.tree.map(
        lambda a: np.float32(
            rng.uniform(0.5, 1.0, a.shape)
            if a.ndim < 3
            else rng.normal(size=a.shape) / np.sqrt(np.prod(a.shape[-4:-1]))
        ),
        shapes,
    )
    assert "stage1_blocks2to3" in variables["params"]
    found, _ = jax.jit(scanned.apply)(variables, images)
    expected, _ = jax.jit(model.apply)(cnnjax.weights.unroll(variables), images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.std(expected))


TIMM = {
    r"trunk_output\.block\d\.block(\d)-(\d)\.": lambda m: f"s{m[1]}.b{int(m[2]) + 1}.",
    r"f\.([abc])\.": lambda m: f"conv{' abc'.index(m[1])}.",
    r"f\.se\.": "se.",
    r"proj\.": "downsample.",
    r"(stem|conv\d|downsample)\.0": r"\1.conv",
    r"(stem|conv\d|downsample)\.1": r"\1.bn",
    r"^fc": "head.fc",
}


def test_reads_timms_names():
    options = {"depth": 3, "w_0": 8, "w_a": 12.0, "w_m": 3.0, "group_width": 8}
    model = cnnjax.create("regnet_y_400mf", **options)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda a: rng.normal(size=a.shape), shapes)
    state = {}
    for key, value in cnnjax.weights.to_torch(
        "regnet_y_400mf", variables, **options
    ).items():
        for pattern, replacement in TIMM.items():
            key = re.sub(pattern, replacement, key)
        state[key] = value
    found = cnnjax.weights.from_torch("regnet_y_400mf", state, **options)
    jax.tree.map(np.testing.assert_array_equal, found, variables)
