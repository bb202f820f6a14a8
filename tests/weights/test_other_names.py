"""Files with the names of sources other than the golden one are read as well."""

import re

import flax.traverse_util
import jax
import numpy as np
import pytest

from cnnjax import weights
from cnnjax.registry import create
from cnnjax.weights._names import namers


SMALL_DENSENET = {"depths": (1, 2), "growth_rate": 4}
SMALL_REGNET = {"depth": 3, "w_0": 8, "w_a": 12.0, "w_m": 3.0, "group_width": 8}
# A variant, its options, and the other source's names in terms of the golden one's.
SOURCES = {
    "densenet, torchvision's published files": (
        "densenet121",
        SMALL_DENSENET,
        {r"(layer\d\.(norm|conv))(\d)": r"\1.\3"},
    ),
    "densenet, pytorchcv": (
        "densenet121",
        SMALL_DENSENET,
        {
            r"denseblock(\d)\.denselayer": r"stage\1.unit",
            r"norm([12])": r"conv\1.bn",
            r"conv([12])\.weight": r"conv\1.conv.weight",
            "conv0": "init_block.conv",
            "norm0": "init_block.bn",
            r"transition1\.norm": "stage2.trans2.conv.bn",
            r"transition1\.conv": "stage2.trans2.conv.conv",
            "norm5": "post_activ.bn",
            "classifier": "output",
        },
    ),
    "regnet, timm": (
        "regnet_y_400mf",
        SMALL_REGNET,
        {
            r"trunk_output\.block\d\.block(\d)-(\d)\.": (
                lambda m: f"s{m[1]}.b{int(m[2]) + 1}."
            ),
            r"f\.([abc])\.": lambda m: f"conv{' abc'.index(m[1])}.",
            r"f\.se\.": "se.",
            r"proj\.": "downsample.",
            r"(stem|conv\d|downsample)\.0": r"\1.conv",
            r"(stem|conv\d|downsample)\.1": r"\1.bn",
            r"^fc": "head.fc",
        },
    ),
}


@pytest.mark.parametrize(("name", "options", "renamed"), SOURCES.values(), ids=SOURCES)
def test_reads_the_names_of_other_sources(name, options, renamed):
    model = create(name, **options)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda a: rng.normal(size=a.shape), shapes)
    state = {}
    for key, value in weights.to_torch(name, variables, **options).items():
        for pattern, replacement in renamed.items():
            key = re.sub(pattern, replacement, key)
        state[key] = value
    found = weights.from_torch(name, state, **options)
    jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_a_convolution_of_one_pixel_is_read_as_a_dense_layer():
    """Timm's MobileNetV3 has one before its head; its other names are timm's usual."""
    state = weights.to_torch("mobilenet_v3_small", _counting("mobilenet_v3_small"))
    renamed = {}
    for path in weights.shapes_of(create("mobilenet_v3_small")):
        golden, timm = (names(path) for names in namers(create("mobilenet_v3_small")))
        value = state[golden.key]
        renamed[timm.key] = value if timm.shape is None else value.reshape(timm.shape)
    assert renamed["conv_head.weight"].shape == (1024, 576, 1, 1)
    assert "blocks.1.0.conv_pwl.weight" in renamed
    assert "blocks.5.0.bn1.running_var" in renamed
    found = weights.from_torch("mobilenet_v3_small", renamed)
    jax.tree.map(np.testing.assert_array_equal, found, _counting("mobilenet_v3_small"))


def _counting(name):
    """Returns variables that count on from 0, so that none is like another."""
    shapes = weights.shapes_of(create(name))
    flat = {
        path: np.arange(a.size, dtype=np.float32).reshape(a.shape) + i
        for i, (path, a) in enumerate(shapes.items())
    }
    return flax.traverse_util.unflatten_dict(flat, sep="/")
