"""EfficientNets: compound scaling, stochastic depth, stages as loops."""

import cnnjax


def test_scaling():
    """B4 by hand, with width 1.4 and depth 1.8."""
    model = cnnjax.create("efficientnet_b4")
    assert [stage.features for stage in model.stages] == [
        *(24, 32, 56, 112, 160, 272, 448)
    ]
    assert [stage.depth for stage in model.stages] == [2, 4, 4, 6, 6, 8, 2]
    assert (model.stem_features, model.head_features) == (48, 1792)


def test_lite_keeps_its_ends():
    model = cnnjax.create("efficientnet_lite4")
    assert [stage.depth for stage in model.stages] == [1, 4, 4, 6, 6, 8, 1]
    assert (model.stem_features, model.head_features) == (32, 1280)
