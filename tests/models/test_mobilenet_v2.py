"""MobileNetV2 of other widths."""

import jax
import pytest

import cnnjax


# As torchvision counts them. Below width 1 the last convolution stays as wide.
@pytest.mark.parametrize(
    ("width", "num_params"), [(0.1, 1_367_080), (0.35, 1_677_128), (1.4, 6_108_776)]
)
def test_width(width, num_params):
    model = cnnjax.create("mobilenet_v2", width=width)
    shapes = cnnjax.weights.shapes_of(model)
    params = {path: a for path, a in shapes.items() if path.startswith("params/")}
    assert sum(a.size for a in jax.tree.leaves(params)) == num_params
