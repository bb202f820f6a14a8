"""Files with the names of sources other than the golden one are read as well."""

import re

import jax
import numpy as np
import pytest

from cnnjax import weights
from cnnjax.registry import create


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
