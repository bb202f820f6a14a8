"""From a model or a function to the report of its cost."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from cnnjax.cost._memory import peak_bytes
from cnnjax.cost._report import CostReport, make_rows
from cnnjax.cost._trace import trace
from cnnjax.cost._walk import Walk


def analyze(
    target: nn.Module | Callable[..., Any],
    *arguments: Any,
    with_gradient: bool = False,
    platform: str | None = None,
    trip_count: int | None = None,
    **options: Any,
) -> CostReport:
    """Counts what a call costs, from shapes alone; no array is made.

    Two counts of multiply-accumulates (MACs) are in use. "Published" ones (`macs`) are
    those of papers and of PyTorch's counter: every tap of every output, those on
    padding too (of a transposed convolution, every tap of every input). "In-bounds"
    ones (`macs_in_bounds`) leave these out; XLA's cost analysis says twice as many
    flops. (A transposed convolution of stride 1 is a convolution like others.)
    Convolutions and matrix products count (attention's too), nothing else does; other
    arithmetic is in each row's `operations`.

    Args:
      target: a Linen module, an NNX module, or any function of arrays.
      *arguments: what it is called with, besides a module's variables: arrays,
        `jax.ShapeDtypeStruct`, or shapes such as (8, 224, 224, 3) of float32 ones, and
        trees of these.
      with_gradient: whether the gradient of a module's output by its parameters is
        computed as well, as in training; of `(output, endpoints)`, the output's.
      platform: "cpu", "tpu", "gpu", "cuda" or "rocm", if its branch of
        `jax.lax.platform_dependent` should count instead of the default.
      trip_count: how often the body of a `while` loop runs.
      **options: keyword arguments of the call: arrays and `jax.ShapeDtypeStruct`, and
        whatever else it takes, e.g. `train=True`.

    Returns:
      The report: rows per layer, totals, tables.

    Raises:
      UserError: if the target cannot be traced with these arguments, there is no such
        platform, or there are products that cannot be counted: in a `while` loop and no
        trip_count, or in a kernel.
    """
    traced = trace(target, arguments, options, with_gradient=with_gradient)
    walk = Walk(traced.jaxpr, platform, trip_count)
    params = Counter()
    for path, shape in traced.param_shapes.items():
        params[path.rpartition("/")[0]] += shape.size
    rows = make_rows(walk, params)
    images = walk.inputs[traced.num_variables :]
    written = sum(row.bytes_written for row in rows)
    return CostReport(
        name=getattr(target, "__name__", type(target).__name__),
        rows=tuple(rows),
        num_params=params.total(),
        param_bits=8
        * sum(a.size * a.dtype.itemsize for a in traced.param_shapes.values()),
        activation_bits=8 * (written + sum(value.num_bytes for value in images)),
        peak_memory_bytes=peak_bytes(walk),
        walk=walk,
        params=params,
    )
