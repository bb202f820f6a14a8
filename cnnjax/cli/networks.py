"""Networks with weights, as commands name them."""

from typing import Any

import cnnjax
from cnnjax.models import Classifier


def load_network(name: str, source: str) -> tuple[Classifier, dict[str, Any]]:
    """Returns a model and its variables.

    Args:
      name: a name that `python -m cnnjax models` lists.
      source: "pypi", a file of weights, or hf://owner/repository[/file]. A file that
        `cnnjax.weights.save` wrote says itself which model it is of.
    """
    if cnnjax.weights.is_saved(source):
        return cnnjax.weights.restore(source)
    variables = cnnjax.weights.load(name, source)
    num_classes = variables["params"]["head"]["bias"].shape[0]
    return cnnjax.create(name, num_classes=num_classes), variables
