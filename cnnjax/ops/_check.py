"""Checks of shapes before anything is traced; every error names what was given."""

import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from cnnjax.ops._spec import AnyArray, Pair


# What public functions take for two axes; arrays are of integers.
Ints = int | np.integer | Sequence[int] | np.ndarray
Padding = Ints | Sequence[Sequence[int]]


def check(condition: bool, message: str) -> None:
    """Raises a ValueError with that message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def check_images(x: AnyArray) -> None:
    """Raises a ValueError unless x is [n, h, w, c]."""
    check(x.ndim == 4, f"images must be [n, h, w, c], not of shape {x.shape}")


def check_pixels(x: AnyArray) -> None:
    """Raises a ValueError unless x is [n, h, w, c] with at least one pixel."""
    check_images(x)
    check(0 not in x.shape[1:3], f"images must have pixels, not be of shape {x.shape}")


def check_floating(x: AnyArray) -> None:
    """Raises a ValueError for integers, which means would be rounded to."""
    check(
        jnp.issubdtype(x.dtype, jnp.floating),
        f"images must be of a floating dtype, not {x.dtype}: convert them first, for "
        "example with x.astype(jnp.float32)",
    )


def check_rows(x: AnyArray, columns: int, name: str) -> None:
    """Raises a ValueError unless x is [n, columns] and of a floating dtype."""
    check(
        x.ndim == 2 and x.shape[1] == columns,
        f"{name} must be [n, {columns}], not of shape {x.shape}; vmap over more axes",
    )
    check(
        jnp.issubdtype(x.dtype, jnp.floating),
        f"{name} must be of a floating dtype, not {x.dtype}",
    )


def check_kernel(x: AnyArray, kernel: AnyArray, groups: int, shapes: str) -> None:
    """Raises a ValueError unless the kernel [kh, kw, c / groups, m] fits images x."""
    check_images(x)
    check(kernel.ndim == 4, f"the kernel must be [kh, kw, c, m]: {shapes}")
    check(min(kernel.shape[:2]) > 0, f"the kernel must have taps: {shapes}")
    check(
        x.shape[3] == groups * kernel.shape[2] and kernel.shape[3] % groups == 0,
        f"channels do not fit {groups} groups: {shapes}",
    )


def check_bias(bias: AnyArray | None, features: int, shapes: str) -> None:
    """Raises a ValueError unless the bias is [features] or None."""
    check(
        bias is None or bias.shape == (features,),
        f"bias {getattr(bias, 'shape', None)} for {features} output channels: {shapes}",
    )


def reach(kernel: AnyArray, dilation: Pair) -> Pair:
    """Returns how far the kernel's last tap is from its first, in rows and columns."""
    return dilation[0] * (kernel.shape[0] - 1), dilation[1] * (kernel.shape[1] - 1)


def check_fit(
    x: AnyArray, kernel: AnyArray, dilation: Pair, sides: Sequence[Pair], shapes: str
) -> None:
    """Raises a ValueError unless the kernel fits into the padded images."""
    check(
        all(
            size + sum(side) >= r + 1
            for size, side, r in zip(
                x.shape[1:3], sides, reach(kernel, dilation), strict=True
            )
        ),
        f"the kernel does not fit into the padded images: {shapes}, padding {sides}, "
        f"dilation {dilation}",
    )


def integer(value: Any, name: str, least: int = 1) -> int:
    """Returns an integer, or raises a ValueError that says what it must be."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    check(
        number >= least, f"{name} must be an integer of at least {least}, not {value!r}"
    )
    return number


def pair(value: Any, name: str, least: int = 1) -> Pair:
    """Returns (rows, columns) of a number or a pair of numbers."""
    try:
        values = [operator.index(v) for v in _for_each_axis(value)]
    except TypeError:
        values = []
    check(
        len(values) == 2 and min(values) >= least,
        f"{name} must be one or two integers of at least {least}, not {value!r}",
    )
    return values[0], values[1]


def paddings(value: Any) -> tuple[Pair, Pair]:
    """Returns ((low, high), (low, high)) of a number, a pair, or a pair of pairs."""
    sides = _for_each_axis(value)
    check(len(sides) == 2, f"padding must be for two axes, not {value!r}")
    return pair(sides[0], "padding", 0), pair(sides[1], "padding", 0)


def _for_each_axis(value: Any) -> tuple[Any, ...]:
    one = isinstance(value, str) or not np.iterable(value)
    return (value, value) if one else tuple(value)
