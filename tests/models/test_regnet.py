"""RegNets: their stages by rule."""

import pytest

import cnnjax
from cnnjax.models.regnet import quantised_linear


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
