"""Multiply-accumulates (MACs) of one equation of a jaxpr, in two ways of counting."""

import functools
import math
from typing import Any, NamedTuple


class Macs(NamedTuple):
    """Multiply-accumulates.

    Attributes:
      published: every tap of every output counts, those on padding too; of a transposed
        convolution, every tap of every input. What papers and PyTorch's counter say.
      in_bounds: taps that fall on padding, or between the inputs of a transposed
        convolution, do not. What XLA's cost analysis says, times 2 there.
    """

    published: int
    in_bounds: int

    def times(self, count: int) -> "Macs":
        """Returns those of `count` such equations."""
        return Macs(count * self.published, count * self.in_bounds)


def macs_of(equation: Any) -> Macs | None:
    """Returns the MACs of an equation, or None if it is no product."""
    rule = _RULES.get(equation.primitive.name)
    return rule and rule(equation)


def _dot(equation: Any) -> Macs:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    count = equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
    return Macs(count, count)


def _lax_convolution(equation: Any) -> Macs:
    x, kernel = (variable.aval.shape for variable in equation.invars)
    params = equation.params
    images, weights, _ = params["dimension_numbers"]
    # Its images' batch, its kernel's outputs, its kernel's inputs (of a group).
    pairs = x[images[0]] * kernel[weights[0]] * kernel[weights[1]]
    return _convolution(
        pairs // params["batch_group_count"],
        [x[axis] for axis in images[2:]],
        [kernel[axis] for axis in weights[2:]],
        params,
    )


def _our_convolution(equation: Any) -> Macs:
    """Counts `cnnjax.ops`'s, or one of its gradients: they have as many products."""
    params = equation.params
    (*image, _), (*kernel, inputs, features) = (
        params["image_shape"],
        params["kernel_shape"],
    )
    batch_size = equation.invars[0].aval.shape[0]
    return _convolution(batch_size * features * inputs, image, kernel, params)


def _convolution(
    pairs: int, image: list[int], kernel: list[int], params: dict[str, Any]
) -> Macs:
    taps = [
        _taps(*axis)
        for axis in zip(
            image,
            kernel,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            strict=True,
        )
    ]
    published, in_bounds = (math.prod(counts) for counts in zip(*taps, strict=True))
    return Macs(pairs * published, pairs * in_bounds)


@functools.cache
def _taps(
    size: int,
    kernel_size: int,
    stride: int,
    padding: tuple[int, int],
    lhs_dilation: int,
    rhs_dilation: int,
) -> tuple[int, int]:
    """Counts the taps along one axis: all of them, and those on an input."""
    dilated = (size - 1) * lhs_dilation + 1 if size else 0
    reach = (kernel_size - 1) * rhs_dilation + 1
    outputs = max(0, (sum(padding) + dilated - reach) // stride + 1)
    inside = 0
    step = math.gcd(stride, lhs_dilation)
    period = lhs_dilation // step  # Of the outputs whose tap is on an input.
    for tap in range(kernel_size):
        start = tap * rhs_dilation - padding[0]  # Where the first output's tap is.
        if start % step:
            continue
        phase = -start // step * pow(stride // step, -1, period) % period
        first = max(0, -(start // stride))
        last = min(outputs - 1, (dilated - 1 - start) // stride)
        first += (phase - first) % period
        inside += max(0, (last - first) // period + 1)
    every = (size if lhs_dilation > 1 else outputs) * kernel_size
    return every, inside


def _ragged_dot(equation: Any) -> Macs:
    """Each row of the left side meets one group of the right one."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (contracted, _), _ = numbers.dot_dimension_numbers
    shape = equation.invars[0].aval.shape
    count = equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
    return Macs(count, count)


_RULES = {
    "dot_general": _dot,
    "ragged_dot_general": _ragged_dot,
    "conv_general_dilated": _lax_convolution,
    "cnnjax_conv_general_dilated": _our_convolution,
    "cnnjax_conv_input_gradient": _our_convolution,
    "cnnjax_conv_kernel_gradient": _our_convolution,
}
