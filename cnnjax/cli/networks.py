"""Networks with weights, as commands name them."""

from pathlib import Path
from typing import Any

import cnnjax
from cnnjax.models import Network


def weights_file(source: str) -> str:
    """Returns the file of the weights in a run's folder; any other source as it is."""
    folder = Path(source)
    return str(folder / "model.safetensors") if folder.is_dir() else source


def load_network(name: str, source: str) -> tuple[Network, dict[str, Any]]:
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
