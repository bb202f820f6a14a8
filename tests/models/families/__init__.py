"""Counts and tiny instances of every family, one file each; here of all together."""

import importlib

from cnnjax import registry


FAMILIES = {
    module.rpartition(".")[2]: importlib.import_module(
        f"families.{module.rpartition('.')[2]}"
    )
    for module in registry.FAMILIES
}
CLASSIFIERS = {  # Others' logits are of pixels.
    module.rpartition(".")[2]
    for module in registry.FAMILIES
    if module.startswith("cnnjax.models.")
}
NUM_PARAMS = {
    name: count
    for family in FAMILIES.values()
    for name, count in family.NUM_PARAMS.items()
}
TINY = {
    f"{family}-{name}": model
    for family, module in FAMILIES.items()
    for name, model in module.TINY.items()
}


def family_of(name):
    """Returns the module of a tiny instance."""
    return FAMILIES[name.partition("-")[0]]
