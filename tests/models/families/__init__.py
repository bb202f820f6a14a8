"""Counts and tiny instances of every family, one file each; here of all together."""

import importlib

from cnnjax import registry


FAMILIES = {
    module.rpartition(".")[2]: importlib.import_module(
        f"families.{module.rpartition('.')[2]}"
    )
    for module in registry.FAMILIES
}


def of(room):
    """Returns the names of a room's families."""
    start = f"cnnjax.{room}."
    return {name.removeprefix(start) for name in registry.FAMILIES if start in name}


CLASSIFIERS = of("models")
NUM_PARAMS = {
    name: count
    for family in FAMILIES.values()
    for name, count in family.NUM_PARAMS.items()
}


def tiny(families):
    """Returns the tiny instances of families by name."""
    return {
        f"{family}-{name}": model
        for family in sorted(families)
        for name, model in FAMILIES[family].TINY.items()
    }


TINY = tiny(CLASSIFIERS | of("segmentation"))  # Which return logits.
DETECTORS = tiny(of("detection"))


def family_of(name):
    """Returns the module of a tiny instance."""
    return FAMILIES[name.partition("-")[0]]
