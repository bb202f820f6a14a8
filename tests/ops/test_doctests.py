"""The examples in the docstrings of the operations."""

import doctest
import importlib
import pkgutil

import jax.numpy as jnp
import pytest

from cnnjax import ops


FILES = [module.name for module in pkgutil.iter_modules(ops.__path__)]


@pytest.mark.parametrize("name", FILES)
def test_docstrings(name):
    module = importlib.import_module(f"cnnjax.ops.{name}")
    failures, _ = doctest.testmod(module, extraglobs={"jnp": jnp})
    assert failures == 0


def test_every_public_operation_is_explained():
    public = {name: f for name, f in vars(ops).items() if callable(f)}
    assert len(public) > 20
    for name, operation in public.items():
        assert operation.__doc__, name
        assert operation.__module__.startswith("cnnjax.ops"), name
