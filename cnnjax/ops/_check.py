"""Checks of shapes before anything is traced; every error names what was given."""

from collections.abc import Sequence

from cnnjax.ops._spec import AnyArray, Pair


def check(condition: bool, message: str) -> None:
    """Raises a ValueError with that message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def check_images(x: AnyArray) -> None:
    """Raises a ValueError unless x is [n, h, w, c]."""
    check(x.ndim == 4, f"images must be [n, h, w, c], not of shape {x.shape}")


def check_kernel(x: AnyArray, kernel: AnyArray, groups: int, shapes: str) -> None:
    """Raises a ValueError unless the kernel [kh, kw, c / groups, m] fits images x."""
    check_images(x)
    check(kernel.ndim == 4, f"the kernel must be [kh, kw, c, m]: {shapes}")
    check(
        groups > 0
        and x.shape[3] == groups * kernel.shape[2]
        and kernel.shape[3] % groups == 0,
        f"channels do not fit {groups} groups: {shapes}",
    )


def pair(value: int | Sequence[int], name: str, least: int = 1) -> Pair:
    """Returns (rows, columns) of a number or a pair of numbers."""
    values = tuple(value) if isinstance(value, Sequence) else (value, value)
    check(
        len(values) == 2 and all(v >= least for v in values),
        f"{name} must be one or two integers of at least {least}, not {value}",
    )
    return int(values[0]), int(values[1])


Padding = int | Sequence[int] | Sequence[tuple[int, int]]


def paddings(value: Padding) -> tuple[Pair, Pair]:
    """Returns ((low, high), (low, high)) of a number, a pair, or a pair of pairs."""
    sides = tuple(value) if isinstance(value, Sequence) else (value, value)
    check(len(sides) == 2, f"padding must be for two axes, not {value}")
    return pair(sides[0], "padding", 0), pair(sides[1], "padding", 0)
