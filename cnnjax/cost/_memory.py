"""The most memory that activations take at one time, from liveness in the program."""

from collections import Counter
from collections.abc import Sequence

from cnnjax.cost._walk import Equation, Value


# Kinds of equations that a compiler computes within the loop of whatever uses them.
_FUSED = {"elementwise", "transcendental", "move"}


def peak_bytes(equations: Sequence[Equation], outputs: Sequence[Value]) -> int:
    """Returns the peak of the activations' memory, arguments left out.

    What is computed number by number and used once, not by a product, is never stored:
    it is fused into its user. Such an equation may write where its input was, if that
    is as large and used no more.

    Args:
      equations: of the whole function, in order.
      outputs: of the whole function; they live to the end.
    """
    uses = Counter(value for e in equations for value in set(e.inputs))
    uses.update(set(outputs))
    kept = set(outputs)
    kept.update(v for e in equations if e.kind == "product" for v in e.inputs)
    # Where a value's numbers come from, if it is not stored itself.
    sources: dict[Value, set[Value]] = {}
    for equation in equations:
        origin = set().union(*(_roots(value, sources) for value in equation.inputs))
        for value in equation.outputs:
            fused = equation.kind in _FUSED and uses[value] == 1 and value not in kept
            sources[value] = origin if fused else {value}

    last: dict[Value, int] = {}
    for i, equation in enumerate(equations):
        for value in equation.inputs:
            for root in _roots(value, sources):
                last[root] = i
    for value in outputs:
        for root in _roots(value, sources):
            last[root] = len(equations)

    live = peak = 0
    alive: set[Value] = set()
    for i, equation in enumerate(equations):
        stored = [v for v in equation.outputs if sources[v] == {v} and v in last]
        dying = {
            root
            for value in equation.inputs
            for root in _roots(value, sources)
            if root in alive and last[root] == i
        }
        freed = sum(value.num_bytes for value in dying)
        added = sum(value.num_bytes for value in stored)
        # In place where numbers of an array that dies become as many new ones.
        in_place = equation.kind in _FUSED and any(
            value.num_bytes == added for value in dying
        )
        peak = max(peak, live + added - (added if in_place else 0))
        live += added - freed
        alive = (alive - dying) | set(stored)
    return peak


def _roots(value: Value, sources: dict[Value, set[Value]]) -> set[Value]:
    """Returns the stored arrays that a value is computed from; none of an argument."""
    return sources.get(value, set())
