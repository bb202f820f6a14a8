"""Which pixels the arrays in a jaxpr depend on, along one axis of the image."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from cnnjax.cost._span import WHOLE, Span, union, window
from cnnjax.cost._walk import CALLS, ELEMENTWISE, TRANSCENDENTAL, jaxpr_of


Spans = list[Span | None]  # None: does not depend on the image.

# What computes or copies number by number.
_ALIKE = {
    *ELEMENTWISE,
    *TRANSCENDENTAL,
    *("convert_element_type", "copy", "reduce_precision", "stop_gradient", "pvary"),
    *("bitcast_convert_type", "pcast", "cnnjax_stored"),
}


def flow(jaxpr: Any, inputs: Sequence[Span | None]) -> Spans:
    """Returns the spans of a jaxpr's outputs.

    What it does not know depends on everything, so that no field comes out too small.

    Args:
      jaxpr: an open one; its constants do not depend on the image.
      inputs: spans of its arguments.
    """
    known: dict[Any, Span | None] = dict.fromkeys(jaxpr.constvars)
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Span | None:
        return None if hasattr(variable, "val") else known[variable]

    for equation in jaxpr.eqns:
        spans = [read(variable) for variable in equation.invars]
        outputs = _outputs(equation, spans)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _outputs(equation: Any, spans: Spans) -> Spans:
    name, count = equation.primitive.name, len(equation.outvars)
    if all(span is None for span in spans):
        return [None] * count
    if name in CALLS:
        key = "call_jaxpr" if "call_jaxpr" in equation.params else "jaxpr"
        return flow(jaxpr_of(equation.params[key]), spans)
    if name in _CONTROL:
        return _CONTROL[name](equation.params, spans)
    if name == "optimization_barrier":
        return spans
    if name in _ALIKE:
        return [_union(spans)] * count
    if name == "concatenate":
        return [_concatenate(equation, spans)]
    if name == "dot_general":
        return [_dot(equation, spans)]
    span, *others = spans
    if span is None or span.axis is None or any(others):
        return [WHOLE] * count
    if name == "split":
        return _split(equation, span, span.axis)
    rules = (rule for prefix, rule in _RULES.items() if name.startswith(prefix))
    rule = next(rules, None)
    return [rule(equation, span, span.axis) if rule else WHOLE] * count


def _union(spans: Spans) -> Span | None:
    dependent = [span for span in spans if span is not None]
    return union(dependent) if dependent else None


# Control flow.


def _scan(params: dict[str, Any], spans: Spans) -> Spans:
    inner = jaxpr_of(params["jaxpr"])
    consts, carries = params["num_consts"], params["num_carry"]
    carried = spans[consts : consts + carries]
    slices = [
        span and (WHOLE if not span.axis else span.moved(span.axis - 1))
        for span in spans[consts + carries :]
    ]
    collected: list[Spans] = []
    for _ in range(params["length"]):
        results = flow(inner, [*spans[:consts], *carried, *slices])
        carried = results[:carries]
        if results[carries:] not in collected:
            collected.append(results[carries:])
    count = len(inner.outvars) - carries
    columns = zip(*collected, strict=True) if collected else [[WHOLE]] * count
    stacks = [_union(list(column)) for column in columns]
    return [
        *carried,
        *(s and (s if s.axis is None else s.moved(s.axis + 1)) for s in stacks),
    ]


def _while(params: dict[str, Any], spans: Spans) -> Spans:
    """Nobody knows how often it runs."""
    return [WHOLE] * len(jaxpr_of(params["body_jaxpr"]).outvars)


def _cond(params: dict[str, Any], spans: Spans) -> Spans:
    branches = [jaxpr_of(branch) for branch in params["branches"]]
    if params.get("branches_platforms") is not None:
        return flow(branches[-1], spans[1:])  # The default is the definition.
    if spans[0] is not None:
        return [WHOLE] * len(branches[0].outvars)
    ways = [flow(branch, spans[1:]) for branch in branches]
    return [_union(list(column)) for column in zip(*ways, strict=True)]


_CONTROL = {"scan": _scan, "while": _while, "cond": _cond}


# Several operands may depend on the image.


def _concatenate(equation: Any, spans: Spans) -> Span | None:
    """Along the image's axis the largest piece counts, if what stands before and behind
    it is narrow: a border, as in `jnp.roll`.
    """
    axis = equation.params["dimension"]
    sizes = [variable.aval.shape[axis] for variable in equation.invars]
    if all(span is None or span.axis != axis for span in spans):
        return _union(spans)
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    span, before, behind = spans[largest], sizes[:largest], sizes[largest + 1 :]
    if span is None or 4 * max(sum(before), sum(behind)) > sum(sizes):
        return WHOLE
    return span.read(-sum(before))


def _dot(equation: Any, spans: Spans) -> Span:
    contracted, batch = equation.params["dimension_numbers"]
    places, free = [], 0
    for side, span in enumerate(spans):
        axes = range(equation.invars[side].aval.ndim)
        kept = [a for a in axes if a not in (*contracted[side], *batch[side])]
        order = [*batch[side], *(None for _ in range(free)), *kept]
        free += len(kept)
        if span is not None:
            if span.axis is None or span.axis in contracted[side]:
                return WHOLE
            places.append(span.moved(order.index(span.axis)))
    return union(places)


# The first operand alone depends on the image; `axis` is its axis.


def _split(equation: Any, span: Span, axis: int) -> Spans:
    sizes = equation.params["sizes"]
    if axis != equation.params["axis"]:
        return [span] * len(sizes)
    return [span.read(sum(sizes[:i])) for i in range(len(sizes))]


def _reduction(equation: Any, span: Span, axis: int) -> Span:
    return _without(span, axis, equation.params["axes"])


def _squeeze(equation: Any, span: Span, axis: int) -> Span:
    return _without(span, axis, equation.params["dimensions"])


def _without(span: Span, axis: int, gone: Sequence[int]) -> Span:
    if axis in gone:
        return WHOLE
    return span.moved(axis - sum(int(other) < axis for other in gone))


def _cumulative(equation: Any, span: Span, axis: int) -> Span:
    params = equation.params
    return WHOLE if params.get("axis", params.get("dimension")) == axis else span


def _transpose(equation: Any, span: Span, axis: int) -> Span:
    return span.moved(list(map(int, equation.params["permutation"])).index(axis))


def _reshape(equation: Any, span: Span, axis: int) -> Span:
    """Follows the axis if it is neither split nor merged."""
    old, new = (v.aval.shape for v in (equation.invars[0], equation.outvars[0]))
    before = math.prod(old[:axis])
    for place, size in enumerate(new):
        if size == old[axis] and math.prod(new[:place]) == before:
            return span.moved(place)
    return WHOLE


def _broadcast(equation: Any, span: Span, axis: int) -> Span:
    place = int(equation.params["broadcast_dimensions"][axis])
    kept = equation.invars[0].aval.shape[axis] == equation.params["shape"][place]
    return span.moved(place) if kept else WHOLE


def _slice(equation: Any, span: Span, axis: int) -> Span:
    params = equation.params
    stride = params["strides"][axis] if params["strides"] else 1
    return span.read(params["start_indices"][axis], stride)


def _pad(equation: Any, span: Span, axis: int) -> Span:
    low, _, between = map(int, equation.params["padding_config"][axis])
    return span.read(-low, 1, between + 1)


def _reverse(equation: Any, span: Span, axis: int) -> Span:
    if axis not in equation.params["dimensions"]:
        return span
    return span.read(equation.invars[0].aval.shape[axis] - 1, -1)


def _convolution(equation: Any, span: Span, axis: int) -> Span:
    images, kernels, outputs = equation.params["dimension_numbers"]
    kernel = equation.invars[1].aval.shape
    sizes = [kernel[place] for place in kernels[2:]]
    return _window(span, axis, images[2:], outputs[2:], sizes, equation.params)


def _our_convolution(equation: Any, span: Span, axis: int) -> Span:
    sizes = equation.params["kernel_shape"][:-2]
    axes = range(1, 1 + len(sizes))
    return _window(span, axis, axes, axes, sizes, equation.params)


def _window(
    span: Span,
    axis: int,
    axes_in: Sequence[int],
    axes_out: Sequence[int],
    sizes: Sequence[int],
    params: dict[str, Any],
) -> Span:
    if axis not in axes_in:
        return WHOLE
    i = list(axes_in).index(axis)
    return window(
        span,
        sizes[i],
        params["window_strides"][i],
        params["padding"][i][0],
        params["lhs_dilation"][i],
        params["rhs_dilation"][i],
    ).moved(axes_out[i])


def _pooling(equation: Any, span: Span, axis: int) -> Span:
    params = equation.params
    return window(
        span,
        params["window_dimensions"][axis],
        params["window_strides"][axis],
        params["padding"][axis][0],
        params["base_dilation"][axis],
        params["window_dilation"][axis],
    )


def _gather(equation: Any, span: Span, axis: int) -> Span:
    """Follows the axis if it is taken in full, as where channels are picked."""
    numbers, sizes = (equation.params[k] for k in ("dimension_numbers", "slice_sizes"))
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    if axis in gone or sizes[axis] != equation.invars[0].aval.shape[axis]:
        return WHOLE
    return span.moved(int(numbers.offset_dims[axis - sum(a < axis for a in gone)]))


def _dynamic_slice(equation: Any, span: Span, axis: int) -> Span:
    full = equation.invars[0].aval.shape[axis]
    return span if equation.params["slice_sizes"][axis] == full else WHOLE


# By how the primitive's name begins; the first that fits.
_RULES: dict[str, Callable[[Any, Span, int], Span]] = {
    "conv_general_dilated": _convolution,
    "cnnjax_conv_general_dilated": _our_convolution,
    "reduce_window": _pooling,
    "reduce_": _reduction,
    "arg": _reduction,
    "cum": _cumulative,
    "sort": _cumulative,
    "transpose": _transpose,
    "reshape": _reshape,
    "broadcast_in_dim": _broadcast,
    "squeeze": _squeeze,
    "slice": _slice,
    "pad": _pad,
    "rev": _reverse,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
}
