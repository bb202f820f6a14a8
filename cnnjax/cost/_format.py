"""How reports are written."""

import io
import math
from typing import Any


def short(number: int) -> str:
    """Writes a number with three digits and a unit's prefix: 4.09 G, 25.6 M, 640."""
    if number < 1000:
        return f"{number} "
    power = min(int(math.log10(number)) // 3, 5)
    scaled = number / 1000**power
    digits = max(0, 2 - int(math.log10(scaled)))
    return f"{scaled:.{digits}f} {'kMGTP'[power - 1]}"


def as_text(report: Any) -> str:
    """Writes what rich can print, 120 letters wide."""
    import rich.console

    console = rich.console.Console(file=io.StringIO(), width=120)
    with console.capture() as capture:
        console.print(report)
    return capture.get()
