"""Fully convolutional ResNets, as torchvision calls them."""

from cnnjax.weights.names import resnet


# The classifier below, of which the head is no part.
BACKBONE = {
    f"backbone/{ours}": f"backbone.{theirs}"
    for ours, theirs in resnet.NAMES.items()
    if ours != "head"
}
NAMES = BACKBONE | {
    "conv": "classifier.0",
    "norm": "classifier.1",
    "head": "classifier.4",
}
SOURCES = [lambda model: NAMES]
