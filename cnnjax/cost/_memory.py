"""The most memory that activations take at one time, from liveness in the program."""

from collections import Counter

from cnnjax.cost._walk import Value, Walk


# Kinds of equations that a compiler computes within the loop of whatever uses them.
_FUSED = {"elementwise", "transcendental", "move"}


def peak_bytes(walk: Walk) -> int:
    """Returns the peak of the activations' memory, arguments left out.

    What is computed number by number and used once, not by a product, is never stored:
    it is fused into its user. Such an equation may write where its input was, if that
    is as large and used no more. What a loop reads or collects exists as long as the
    loop runs.

    Args:
      walk: of the whole function.
    """
    equations, outputs = walk.equations, walk.outputs
    uses = Counter(value for e in equations for value in set(e.inputs))
    uses.update(set(outputs))
    uses.update(walk.wholes.values())
    kept = set(outputs)
    kept.update(v for loop in walk.loops for v in (*loop.reads, *loop.writes))
    kept.update(v for e in equations if e.kind == "product" for v in e.inputs)
    # Where a value's numbers come from, if it is not stored itself.
    sources: dict[Value, set[Value]] = {}

    def roots(value: Value) -> set[Value]:
        """Returns the stored arrays that a value is computed from; not arguments."""
        while value in walk.wholes:
            value = walk.wholes[value]
        return sources.get(value, set())

    for equation in equations:
        origin = set().union(*map(roots, equation.inputs))
        for value in equation.outputs:
            fused = equation.kind in _FUSED and uses[value] == 1 and value not in kept
            sources[value] = origin if fused else {value}

    last: dict[Value, int] = {}
    for i, equation in enumerate(equations):
        for root in set().union(*map(roots, equation.inputs)):
            last[root] = i
    born: dict[int, list[Value]] = {}
    for loop in walk.loops:
        born.setdefault(loop.first, []).extend(loop.writes)
        for root in set().union(*map(roots, loop.reads)):
            last[root] = max(last.get(root, 0), loop.last)
    for root in set().union(*map(roots, outputs)):
        last[root] = len(equations)

    live = peak = 0
    alive: set[Value] = set()
    for i, equation in enumerate(equations):
        early = {v for v in born.get(i, ()) if v in last and v not in alive}
        live += sum(value.num_bytes for value in early)
        alive |= early
        stored = {
            v
            for v in equation.outputs
            if sources[v] == {v} and v in last and v not in alive
        }
        dying = {
            root
            for root in set().union(*map(roots, equation.inputs))
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
        alive = (alive - dying) | stored
    return peak
