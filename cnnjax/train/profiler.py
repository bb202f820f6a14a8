"""Traces of a few steps, to be looked at in Perfetto, XProf or TensorBoard."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax


@contextlib.contextmanager
def profiled(
    step: Callable[..., Any], folder: Path, *, skipped: int, count: int
) -> Iterator[Callable[..., Any]]:
    """Yields a step that does the same and traces some of its calls.

    Args:
      step: compiled.
      folder: where the trace goes.
      skipped: calls before the trace, the first of which compiles.
      count: calls in the trace; 0 for none.
    """
    calls, tracing = 0, False

    def run(*arguments: Any) -> Any:
        nonlocal calls, tracing
        if count and calls == skipped:
            jax.profiler.start_trace(str(folder))
            tracing = True
        with jax.profiler.StepTraceAnnotation("train", step_num=calls):
            outputs = step(*arguments)
        calls += 1
        if tracing and calls == skipped + count:
            jax.block_until_ready(outputs)
            jax.profiler.stop_trace()
            tracing = False
        return outputs

    try:
        yield run
    finally:
        if tracing:  # The run ended before.
            jax.profiler.stop_trace()
