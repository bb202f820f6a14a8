"""How an operation made of several steps stays one equation in a jaxpr."""

import functools
from collections.abc import Callable
from typing import Any

import jax


LONGEST_NAME = 150  # Files of JAX's compilation cache are named after it.


def named(function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """Makes an operation one equation that carries its name and static parameters.

    The decorated function takes its arrays by position and its static parameters, which
    must be hashable, by name. It is compiled once per set of these, and its equation,
    `jit[name="shift2d(mode='zero')" ...]`, reads like the beginning of the call. The
    name is the function's own unless one is given.
    """
    name = name or function.__name__.strip("_")

    @functools.cache
    def compiled(**static):
        def call(*arrays):
            return function(*arrays, **static)

        parameters = ", ".join(f"{key}={value!r}" for key, value in static.items())
        call.__name__ = call.__qualname__ = f"{name}({parameters})"[:LONGEST_NAME]
        return jax.jit(call)

    @functools.wraps(function)
    def wrapper(*arrays, **static):
        return compiled(**static)(*arrays)

    return wrapper
