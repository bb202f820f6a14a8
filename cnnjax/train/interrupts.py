"""SIGTERM (pre-emption) and Ctrl-C as something the loop asks about between steps."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
    """The run was asked to stop, and has saved its state.

    Attributes:
      signal_number: SIGTERM or SIGINT.
    """

    def __init__(self, signal_number: int):
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


@contextlib.contextmanager
def caught() -> Iterator[Callable[[int], int | None]]:
    """Holds signals back; yields a function that says which one ends a run at a step.

    It has to be called after every step with the number of steps done, and returns
    None as long as the run may go on. In one process that is until SIGTERM or SIGINT
    arrives. A second signal acts as usual, for whoever cannot wait. Outside the main
    thread, where Python allows no handlers, nothing is held back.

    When one of several processes gets a signal, all of them are told the same step.
    """
    if jax.process_count() > 1:
        # JAX has a handler of SIGTERM of its own then, which tells the others.
        with _handled(lambda number, frame: os.kill(os.getpid(), signal.SIGTERM)):
            yield _agreed
        return
    received: list[int] = []

    def handle(number: int, _: Any) -> None:
        received.append(number)
        restore()

    with _handled(handle, signal.SIGTERM) as restore:
        yield lambda step: received[0] if received else None


def _agreed(step: int) -> int | None:
    stops = multihost_utils.reached_preemption_sync_point(step)
    return int(signal.SIGTERM) if stops else None


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, Any], None], *others: int
) -> Iterator[Callable[[], None]]:
    """Handles SIGINT, and other signals; yields what ends that early."""
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, before in previous.items():
            signal.signal(number, before)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *others):
            previous[number] = signal.signal(number, handler)
    try:
        yield restore
    finally:
        restore()
