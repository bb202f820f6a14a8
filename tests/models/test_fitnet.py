"""FitNets: the published sizes."""

import cnnjax
from cnnjax import weights


def num_params(name, **options):
    shapes = weights.shapes_of(cnnjax.create(name, **options))
    return sum(a.size for path, a in shapes.items() if path.startswith("params/"))


def test_sizes_are_those_of_the_paper_and_of_the_authors_configuration():
    assert round(num_params("fitnet19_cifar") / 1e6, 1) == 2.5
    assert round(num_params("fitnet19_cifar", hidden_pieces=5) / 1e6, 2) == 2.74
