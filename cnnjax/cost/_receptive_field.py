"""How much of the image each endpoint sees."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Float

from cnnjax import errors
from cnnjax.cost._flow import flow
from cnnjax.cost._span import Span, pixels
from cnnjax.cost._trace import shape_of, trace


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that one position of an endpoint depends on.

    One number per axis of the image; None where the endpoint has no such axis.

    Attributes:
      size: pixels from the first to the last, taps in between or not; `math.inf` behind
        global pooling, squeeze-excite, attention or deformable convolution. Where
        positions differ, as behind a transposed convolution, the most.
      stride: pixels from one position to the next.
      offset: where the middle of the first position's field lies, in pixels; the middle
        of the first pixel is 0.
      padding: pixels of the first position's field before the image's first.
    """

    size: tuple[float, ...]
    stride: tuple[float | None, ...]
    offset: tuple[float | None, ...]
    padding: tuple[float | None, ...]

    @property
    def bounded(self) -> bool:
        """Whether it is smaller than every image."""
        return max(self.size) < math.inf


def receptive_field(
    target: nn.Module | Callable[..., Any], *arguments: Any, **options: Any
) -> dict[str, ReceptiveField]:
    """Computes the receptive field of every output, from the geometry alone.

    Exact far from the image's border, for convolutions of any stride, dilation and
    transposition, pooling, shifts and slices. What cannot be followed counts as
    unbounded, so that no field comes out too small.

    Args:
      target: a Linen module, an NNX module, or any function.
      *arguments: what it is called with, as for `analyze`. The first is the images
        [n, ..., c]; the axes in between are those of the field.
      **options: keyword arguments of the call.

    Returns:
      The field by the name of the output: of models that return
      `(output, endpoints)` those of the endpoints, else paths in what is returned.

    Raises:
      UserError: if the target cannot be traced, or its first argument has less than
        three axes.

    Source: Araujo et al., 2019, https://distill.pub/2019/computing-receptive-fields.
    """
    ndim = len(getattr(shape_of(arguments[0]), "shape", ())) if arguments else 0
    if ndim < 3:
        raise errors.UserError(
            "the first argument must be images [n, ..., c] with at least one axis "
            f"between, not {arguments[0] if arguments else 'nothing'}"
        )
    traced = trace(target, arguments, options, with_gradient=False)
    fields: dict[str, list[Span | None]] = {name: [] for name in traced.output_names}
    for axis in range(1, ndim - 1):
        inputs: list[Span | None] = [None] * len(traced.jaxpr.jaxpr.invars)
        inputs[traced.num_variables] = pixels(axis)
        spans = flow(traced.jaxpr.jaxpr, inputs)
        for name, span in zip(traced.output_names, spans, strict=False):
            fields[name].append(span)  # What comes behind is changed state.
    return {
        name: _field([span for span in spans if span is not None])
        for name, spans in fields.items()
        if any(span is not None for span in spans)
    }


def effective_receptive_field(
    call: Callable[[Array], Array],
    images: Float[Array, "n h w c"],
    position: tuple[int, int] | None = None,
    seed: int = 0,
) -> Float[np.ndarray, "h w"]:
    """Measures how strongly each pixel moves one position of an output.

    The mean, over images and channels, of the gradient's absolute value, for a random
    sum of the output's channels there. Exactly zero where the output does not depend on
    the pixel.

    Args:
      call: from images to [n, h2, w2, c2], e.g.
        `lambda x: model.apply(variables, x)[1]["stage3"]`.
      images: what it is measured on. Each max pooling looks at one pixel of a window
        only, so that it takes several images to see all of the field.
      position: row and column in the output (default: its middle).
      seed: of the random sum.

    Returns:
      [h, w].

    Source: Luo et al., 2016, https://arxiv.org/abs/1701.04128.
    """

    @jax.jit
    def gradient(images):
        outputs, pull = jax.vjp(call, images)
        row, column = position or (outputs.shape[1] // 2, outputs.shape[2] // 2)
        weights = jax.random.normal(jax.random.key(seed), outputs.shape, outputs.dtype)
        only = jax.numpy.zeros_like(outputs).at[:, row, column].set(1)
        return abs(pull(only * weights)[0]).mean(axis=(0, 3))

    return np.asarray(gradient(images))


def _field(spans: list[Span]) -> ReceptiveField:
    placed = [None if span.axis is None else span for span in spans]
    firsts = [span and _first(span) for span in placed]
    return ReceptiveField(
        size=tuple(span.size for span in spans),
        stride=tuple(span and float(span.stride) for span in placed),
        offset=tuple(
            first and (None if math.isinf(first[0]) else sum(first) / 2)
            for first in firsts
        ),
        padding=tuple(first and max(0.0, -first[0]) for first in firsts),
    )


def _first(span: Span) -> tuple[float, float]:
    """Returns the first position's pixels; where it has none, as if it had."""
    for i, (low, high) in enumerate(zip(span.low, span.high, strict=True)):
        if low <= high:
            before = float(i * span.stride)
            return low - before, high - before
    return math.nan, math.nan


def plot_receptive_field(
    path: Path,
    model: nn.Module,
    variables: Any,
    images: Float[Array, "n h w c"],
    endpoints: Sequence[str],
) -> None:
    """Draws the effective receptive field within the theoretical one as a PNG file.

    Args:
      path: the file to write.
      model: returns `(output, endpoints)`.
      variables: the model's.
      images: what the effective field is measured on.
      endpoints: whose fields; of shape [n, h, w, c].
    """
    from cnnjax import plots

    fields, panels = receptive_field(model, images), []
    for name in endpoints:

        def output(x: Array, name: str = name) -> Any:
            return model.apply(variables, x)[1][name]

        strength = effective_receptive_field(output, images)
        middles = [size // 2 for size in jax.eval_shape(output, images).shape[1:3]]
        bounds = [_bounds(fields[name], axis, middles[axis]) for axis in range(2)]
        (top, bottom), (left, right) = bounds
        panels.append((name, strength, (top, left, bottom, right)))
    plots.receptive_field(path, panels)


def _bounds(field: ReceptiveField, axis: int, position: int) -> tuple[float, float]:
    """Returns the first and the last pixel that a position sees."""
    offset, stride = field.offset[axis], field.stride[axis]
    if offset is None or stride is None:
        return -math.inf, math.inf
    reach = (field.size[axis] - 1) / 2
    return offset + stride * position - reach, offset + stride * position + reach
