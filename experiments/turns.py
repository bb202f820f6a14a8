"""Contestants that have a process each, and take turns.

None works in memory that another has left behind. Processes talk by lines of JSON: a
process tells once what it is (`null`: it cannot run) and, whenever it reads a number,
how many milliseconds each of as many runs took, after one that does not count.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from timing import Run, wait_for


@contextlib.contextmanager
def worker(*arguments: str) -> Iterator[tuple[Any, Any]]:
    """Starts a Python script; ends it at last.

    Args:
      *arguments: the script, which calls `work`, and its options.

    Yields:
      The process, and what it has told.

    Raises:
      RuntimeError: if it fails before.
    """
    process: Any = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, answer(process)
    finally:
        process.communicate()  # Closes its input, which it takes for the end.


def answer(process: Any) -> Any:
    """Reads a line of a process; a process that has failed is a RuntimeError."""
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a contestant has failed: {' '.join(process.args)}")
    return json.loads(line)


def interleave(
    processes: dict[str, Any], *, runs: int, rounds: int, seconds: float
) -> dict[str, float]:
    """Returns the median time of each in milliseconds.

    Args:
      processes: of `worker`, by contestant.
      runs: how many in a turn.
      rounds: how many turns each has, at the most.
      seconds: how long all of it may take before the rounds are cut to three.
    """
    times: dict[str, list[float]] = {name: [] for name in processes}
    start = time.perf_counter()
    for i in range(rounds):
        if i >= 3 and time.perf_counter() - start > seconds:
            break
        for name, process in processes.items():
            print(runs, file=process.stdin, flush=True)
            times[name] += answer(process)
    return {name: float(np.median(values)) for name, values in times.items()}


def work(make: Callable[[], Run | None], tell: Callable[[Any], dict[str, Any]]) -> None:
    """Makes what a process runs, and runs it whenever a line comes in.

    Args:
      make: returns it, or None where it cannot be.
      tell: of the first result, returns what others should know, besides how many
        seconds it took to come to it (`first_s`).
    """
    answers = os.fdopen(os.dup(1), "w")  # What libraries print goes elsewhere.
    os.dup2(2, 1)
    start = time.perf_counter()
    run = make()
    if run is None:
        print("null", file=answers, flush=True)
        return
    result = wait_for(run())
    told = {"first_s": time.perf_counter() - start, **tell(result)}
    print(json.dumps(told), file=answers, flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(1 + int(line)):
            began = time.perf_counter()
            wait_for(run())
            times.append(1e3 * (time.perf_counter() - began))
        print(json.dumps(times[1:]), file=answers, flush=True)
