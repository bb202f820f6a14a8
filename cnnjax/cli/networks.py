"""Networks with weights, as commands name them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cnnjax
from cnnjax import errors
from cnnjax.detection import Detector
from cnnjax.models import Classifier, Network
from cnnjax.segmentation import Segmenter


Kind = TypeVar("Kind", bound=Network)

# Which command is for which networks, and what it is that these do.
COMMANDS = {
    Classifier: ("predict", "says what whole photographs show"),
    Segmenter: ("segment", "says what pixels show"),
    Detector: ("detect", "finds objects"),
}


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
    num_classes = cnnjax.weights.num_classes(cnnjax.create(name), variables)
    return cnnjax.create(name, num_classes=num_classes), variables


def of_kind(kind: type[Kind], network: Network) -> Kind:
    """Returns the network that a command has loaded.

    Raises:
      UserError: if it is of another kind, naming the command for it.
    """
    if isinstance(network, kind):
        return network
    for other, (command, does) in COMMANDS.items():
        if isinstance(network, other):
            name = type(network).__name__
            raise errors.UserError(f"a {name} {does}: use `{command}`")
    raise errors.UserError(f"there is no command for a {type(network).__name__}")


def colour_channels(network: Network, variables: dict[str, Any], source: str) -> int:
    """Returns how many channels a network wants photographs in: 1 or 3.

    Raises:
      UserError: if it is another number.
    """
    channels = cnnjax.weights.in_channels(network, variables)
    if channels not in (1, 3):
        raise errors.UserError(f"{source} is for images of {channels} channels")
    return channels


def class_names(
    source: str, count: int, usual: Callable[[], Sequence[str]]
) -> Sequence[str]:
    """Returns a name for each of so many classes.

    Args:
      source: of the weights, whose own names come first.
      count: how many there are.
      usual: returns those to take otherwise, if they are as many.
    """
    names = cnnjax.weights.class_names(source) or usual()
    return names if len(names) == count else [f"class {i}" for i in range(count)]
