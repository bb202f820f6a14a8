"""From a jaxpr to the list of what it computes, loops and calls resolved."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cnnjax import errors
from cnnjax.cost._convolutions import Macs, macs_of


# How `analyze` writes a module's path into the names of scopes: "@stage1.Conv_0@".
MARK = re.compile(r"@([^@]*)@")

# Names of platforms, and what branches for them may be called.
_PLATFORMS = {
    "cpu": ("cpu",),
    "tpu": ("tpu",),
    "gpu": ("gpu", "cuda", "rocm"),
    "cuda": ("cuda", "gpu"),
    "rocm": ("rocm", "gpu"),
}

# Equations that only run another jaxpr on their arguments.
CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "shard_map"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "xla_pmap"),
    "composite",
}
_MOVES = {
    *("broadcast_in_dim", "concatenate", "convert_element_type", "copy"),
    *("dynamic_slice", "dynamic_update_slice", "gather", "iota", "pad", "pvary"),
    *("reshape", "rev", "slice", "split", "squeeze", "stop_gradient", "transpose"),
    *("bitcast_convert_type", "optimization_barrier", "platform_index"),
    *("reduce_precision", "pcast", "cnnjax_stored"),
}
_MOVING_OPERATIONS = {"shift2d", "channel_shuffle"}  # Of `cnnjax.ops`.
TRANSCENDENTAL = {
    *("cbrt", "cos", "cosh", "digamma", "erf", "erf_inv", "erfc", "exp", "exp2"),
    *("expm1", "lgamma", "log", "log1p", "logistic", "pow", "rsqrt", "sin", "sinh"),
    *("sqrt", "tan", "tanh", "acos", "asin", "atan", "atan2", "acosh", "asinh"),
}
ELEMENTWISE = {
    *("abs", "add", "add_any", "and", "ceil", "clamp", "div", "eq", "floor", "ge"),
    *("gt", "integer_pow", "is_finite", "le", "lt", "max", "min", "mul", "ne", "neg"),
    *("nextafter", "not", "or", "rem", "round", "select_n", "sign", "square", "sub"),
    *("xor", "shift_left", "shift_right_logical", "shift_right_arithmetic"),
}


@dataclasses.dataclass(eq=False)
class Value:
    """An array that flows between equations.

    Attributes:
      shape, dtype: its own.
    """

    shape: tuple[int, ...]
    dtype: Any

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * getattr(self.dtype, "itemsize", 4)


class Loop(NamedTuple):
    """What exists as long as a loop runs.

    Attributes:
      first, last: indices of its equations.
      reads: arrays that every round reads, or reads a part of.
      writes: arrays that every round writes a part of.
    """

    first: int
    last: int
    reads: list[Value]
    writes: list[Value]


@dataclasses.dataclass(eq=False)
class Equation:
    """What is computed in one place.

    Attributes:
      path: of the module, "stage1_block1/Conv_0"; "" outside of all.
      name: of the primitive, or of the operation of `cnnjax.ops`.
      kind: "product", "elementwise", "transcendental", "reduction", "move", "other".
      macs: multiply-accumulates of one run.
      operations: other arithmetic of one run, numbers computed or reduced.
      interpolation_macs: of bilinear sampling, in one run.
      inputs, outputs: its arrays.
      times: how often it runs.
    """

    path: str
    name: str
    kind: str
    macs: Macs
    operations: int
    interpolation_macs: int
    inputs: list[Value]
    outputs: list[Value]
    times: int


class Walk:
    """Resolves a closed jaxpr.

    Attributes:
      equations: in the order of the program; a loop's body stands there once.
      inputs, outputs: of the whole function.
      loops: where the bodies of loops stand, inner ones first.
      wholes: the array that a part of it, such as a round's slice, is read from.
    """

    def __init__(
        self, closed: Any, platform: str | None = None, trip_count: int | None = None
    ):
        """Walks.

        Args:
          closed: from `jax.make_jaxpr`.
          platform: whose branch counts where they differ, e.g. "tpu"; None takes the
            one for any other, which is the definition.
          trip_count: how often the body of a `while` loop runs.
        """
        if platform is not None and platform not in _PLATFORMS:
            raise errors.unknown("platform", platform, _PLATFORMS)
        if trip_count is not None and trip_count < 0:
            raise errors.UserError(f"trip_count must not be negative: {trip_count}")
        self.equations: list[Equation] = []
        self.loops: list[Loop] = []
        self.wholes: dict[Value, Value] = {}
        self._platform, self._trip_count = platform, trip_count
        self.inputs = [_value(v) for v in closed.jaxpr.invars]
        consts = [_value(v) for v in closed.jaxpr.constvars]
        self.outputs = self._run(closed.jaxpr, [*consts, *self.inputs], "", 1)

    def _run(
        self, jaxpr: Any, arguments: Sequence[Value], path: str, times: int
    ) -> list[Value]:
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], arguments, strict=True))

        def read(variable: Any) -> Value:
            if hasattr(variable, "val"):  # A literal.
                return _value(variable)
            return known[variable]

        for equation in jaxpr.eqns:
            marks = MARK.findall(str(equation.source_info.name_stack))
            place = marks[-1].replace(".", "/") if marks else path
            inputs = [read(variable) for variable in equation.invars]
            outputs = self._equation(equation, inputs, place, times)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def _equation(
        self, equation: Any, inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            operation, called, _ = str(params.get("name", "")).partition("(")
            outputs = [_value(variable) for variable in equation.outvars]
            if called and operation in _MOVING_OPERATIONS:
                none = Macs(0, 0)
                self._note(path, operation, "move", none, 0, 0, inputs, outputs, times)
                return outputs
            # One output of pixels; its gradient's are those of images and places.
            if called and operation == "interpolate" and len(outputs[0].shape) >= 6:
                macs = 4 * math.prod(outputs[0].shape)
                self._note(
                    *(path, operation, "other", Macs(0, 0), 0, macs),
                    *(inputs, outputs, times),
                )
                return outputs
            inner = jaxpr_of(
                params["call_jaxpr" if "call_jaxpr" in params else "jaxpr"]
            )
            consts = [_value(v) for v in inner.constvars]
            if name == "shard_map":  # From here on, shapes are those of one device.
                inputs = [self._part(inputs[i], v) for i, v in enumerate(inner.invars)]
            return self._run(inner, [*consts, *inputs], path, times)
        if name == "scan":
            return self._scan(equation, inputs, path, times)
        if name == "while":
            return self._while(params, inputs, path, times)
        if name == "cond":
            return self._cond(equation, inputs, path, times)
        outputs = [_value(variable) for variable in equation.outvars]
        macs = macs_of(equation)
        if macs is None and any(map(_has_products, params.values())):
            raise errors.UserError(
                f"there are products in `{name}`{f' in {path}' if path else ''}, which "
                "cannot be counted; leave it out and count it apart"
            )
        kind, operations = ("product", 0) if macs else _arithmetic(equation)
        self._note(
            path, name, kind, macs or Macs(0, 0), operations, 0, inputs, outputs, times
        )
        return outputs

    def _note(self, *fields: Any) -> None:
        self.equations.append(Equation(*fields))

    def _part(self, whole: Value, variable: Any) -> Value:
        """Returns what is read of an array in one round, or on one device."""
        part = _value(variable)
        self.wholes[part] = whole
        return part

    def _scan(
        self, equation: Any, inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        params, first = equation.params, len(self.equations)
        inner, length = jaxpr_of(params["jaxpr"]), params["length"]
        split, carries = params["num_consts"] + params["num_carry"], params["num_carry"]
        slices = [
            self._part(*pair)
            for pair in zip(inputs[split:], inner.invars[split:], strict=True)
        ]
        results = self._run(inner, [*inputs[:split], *slices], path, times * length)
        stacks = [_value(variable) for variable in equation.outvars[carries:]]
        if stacks:
            self._note(
                *(path, "stack", "move", Macs(0, 0), 0, 0),
                *(results[carries:], stacks, times),
            )
        reads = inputs[: params["num_consts"]] + inputs[split:]
        self.loops.append(Loop(first, len(self.equations) - 1, reads, stacks))
        return [*results[:carries], *stacks]

    def _while(
        self, params: dict[str, Any], inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        first = len(self.equations)
        of_cond = params["cond_nconsts"]
        skipped = of_cond + params["body_nconsts"]
        count = 1 if self._trip_count is None else self._trip_count
        cond, body = (jaxpr_of(params[k]) for k in ("cond_jaxpr", "body_jaxpr"))
        carried = inputs[skipped:]
        self._run(cond, [*inputs[:of_cond], *carried], path, times * (count + 1))
        outputs = self._run(body, inputs[of_cond:], path, times * count)
        added = self.equations[first:]
        if self._trip_count is None and any(e.macs.published for e in added):
            raise errors.UserError(
                "there is a while loop of unknown length around products"
                f"{f' in {path}' if path else ''}; pass trip_count"
            )
        self.loops.append(Loop(first, len(self.equations) - 1, inputs[:skipped], []))
        return outputs

    def _cond(
        self, equation: Any, inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        """Takes the platform's branch, or the one with the most products."""
        branches = [jaxpr_of(branch) for branch in equation.params["branches"]]
        platforms = equation.params.get("branches_platforms")
        if platforms is not None:
            asked = _PLATFORMS.get(self._platform or "", ())
            chosen = [
                branch
                for branch, names in zip(branches, platforms, strict=True)
                if names is None or any(name in asked for name in names)
            ]
            if not chosen:
                raise errors.UserError(
                    f"there is no branch for {self._platform or 'any platform'}; pass "
                    f"platform, one of those of {platforms}"
                )
            return self._run(chosen[0], inputs[1:], path, times)
        ways, start = [], len(self.equations)
        for branch in branches:
            outputs = self._run(branch, inputs[1:], path, times)
            ways.append((self.equations[start:], outputs))
            del self.equations[start:]
        added, outputs = max(
            ways, key=lambda way: sum(e.times * e.macs.published for e in way[0])
        )
        self.equations += added
        return outputs


def jaxpr_of(value: Any) -> Any:
    return getattr(value, "jaxpr", value)


def _has_products(parameter: Any) -> bool:
    """Whether a parameter of an equation is a program, or several, with products."""
    if isinstance(parameter, list | tuple):
        return any(map(_has_products, parameter))
    equations = getattr(jaxpr_of(parameter), "eqns", ())
    return any(
        macs_of(equation) is not None
        or any(map(_has_products, equation.params.values()))
        for equation in equations
    )


def _value(variable: Any) -> Value:
    aval = variable.aval
    shape, dtype = getattr(aval, "shape", ()), getattr(aval, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        dtype = None
    return Value(tuple(shape), dtype)


def _arithmetic(equation: Any) -> tuple[str, int]:
    """Returns the kind of an equation and how many numbers it computes or reduces."""
    name, params = equation.primitive.name, equation.params
    size = sum(getattr(v.aval, "size", 0) for v in equation.outvars)
    if name in _MOVES:
        return "move", 0
    if name in ELEMENTWISE:
        return "elementwise", size
    if name in TRANSCENDENTAL:
        return "transcendental", size
    if "window_dimensions" in params:
        return "reduction", size * math.prod(map(int, params["window_dimensions"]))
    if name.startswith(("reduce", "arg", "cum", "sort")):
        return "reduction", equation.invars[0].aval.size
    return "other", size
