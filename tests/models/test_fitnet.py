"""FitNets: the published sizes, stages as loops."""

import jax
import numpy as np

import cnnjax
from cnnjax import weights
from cnnjax.models.fitnet import FitNet


def num_params(name, **options):
    shapes = weights.shapes_of(cnnjax.create(name, **options))
    return sum(a.size for path, a in shapes.items() if path.startswith("params/"))


def test_sizes_are_those_of_the_paper_and_of_the_authors_configuration():
    assert round(num_params("fitnet19_cifar") / 1e6, 1) == 2.5
    assert round(num_params("fitnet19_cifar", hidden_pieces=5) / 1e6, 2) == 2.74


def test_scanned_stages_compute_the_same():
    model = FitNet(
        dims=((4,), (4, 4, 4, 4), (4,)), hidden_features=8, num_classes=3, image_size=8
    )
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape)), shapes)
    logits, _ = jax.jit(model.apply)(variables, images)
    assert np.std(logits) > 0
    scanned = model.clone(scan=True)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), images)
    assert "stage2_blocks2to4" in shapes["params"]
    found, _ = jax.jit(scanned.apply)(weights.roll(variables, shapes), images)
    np.testing.assert_allclose(found, logits, atol=1e-5 * np.std(logits))
