"""SIGTERM (pre-emption) and Ctrl-C as something the loop asks about between steps."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Interrupted(Exception):
    """The run was asked to stop, and has saved its state.

    Attributes:
      signal_number: SIGTERM or SIGINT.
    """

    def __init__(self, signal_number: int):
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


@contextlib.contextmanager
def caught() -> Iterator[Callable[[], int | None]]:
    """Holds SIGTERM and SIGINT back; yields a function that returns the one received.

    A second signal acts as usual, for whoever cannot wait. Outside the main thread,
    where Python allows no handlers, nothing is held back.
    """
    received: list[int] = []

    def handle(number: int, _: Any) -> None:
        received.append(number)
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.signal(number, handle)
    try:
        yield lambda: received[0] if received else None
    finally:
        restore()
