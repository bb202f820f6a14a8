"""EfficientNets: compound scaling, stochastic depth, stages as loops."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

import cnnjax
from cnnjax.models.efficientnet import EfficientNet, Stage


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


def test_a_stage_as_a_loop_computes_the_same():
    """Without chance, of which a loop draws in another order; see `test_scan.py`."""
    model = EfficientNet(
        stages=(Stage(4, 3, 1, 8, 3),),
        stem_features=8,
        head_features=16,
        num_classes=3,
        dropout_rate=0.0,
        drop_path_rate=0.0,
    )
    images = jnp.asarray(np.random.RandomState(0).randn(2, 16, 16, 3), jnp.float32)
    looped = model.clone(scan=True)
    shapes = jax.eval_shape(looped.init, jax.random.key(0), images)
    rng = np.random.RandomState(1)
    variables = jax.tree.map(
        lambda a: rng.uniform(0.1, 1.0, a.shape).astype(np.float32), shapes
    )
    assert "stage1_blocks2to3" in variables["params"]

    def run(model, variables):
        @jax.jit
        def both(variables):
            (logits, _), updates = model.apply(
                variables,
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(1)},
            )
            return logits, model.apply(variables, images)[0], updates

        return both(variables)

    trained, inferred, updates = run(looped, variables)
    expected = run(model, cnnjax.weights.unroll(variables))
    found = trained, inferred, cnnjax.weights.unroll(updates)
    chex.assert_trees_all_close(found, expected, rtol=1e-4)
    assert np.std(inferred) > 0
    assert not np.allclose(trained, inferred, atol=1e-3)
