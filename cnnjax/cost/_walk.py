"""From a jaxpr to the list of what it computes, loops and calls resolved."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax import errors
from cnnjax.cost._convolutions import Macs, macs_of


# How `analyze` writes a module's path into the names of scopes: "@stage1.Conv_0@".
MARK = re.compile(r"@([^@]*)@")

# Equations that only run another jaxpr on their arguments.
CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "shard_map"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "xla_pmap"),
}
_MOVES = {
    *("broadcast_in_dim", "concatenate", "convert_element_type", "copy"),
    *("dynamic_slice", "dynamic_update_slice", "gather", "iota", "pad", "pvary"),
    *("reshape", "rev", "slice", "split", "squeeze", "stop_gradient", "transpose"),
    *("bitcast_convert_type", "optimization_barrier", "platform_index"),
    *("reduce_precision", "pcast"),
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
        self.equations: list[Equation] = []
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
            operation = str(params.get("name", "")).partition("(")[0]
            if operation == "deform_conv2d":
                return self._deform(equation, inputs, path, times)
            if operation in _MOVING_OPERATIONS:
                outputs = [_value(variable) for variable in equation.outvars]
                self._note(
                    path, operation, "move", Macs(0, 0), 0, 0, inputs, outputs, times
                )
                return outputs
            inner = jaxpr_of(
                params["call_jaxpr" if "call_jaxpr" in params else "jaxpr"]
            )
            consts = [_value(v) for v in inner.constvars]
            return self._run(inner, [*consts, *inputs], path, times)
        if name == "scan":
            return self._scan(params, inputs, path, times)
        if name == "while":
            return self._while(params, inputs, path, times)
        if name == "cond":
            return self._cond(equation, inputs, path, times)
        outputs = [_value(variable) for variable in equation.outvars]
        macs = macs_of(equation)
        kind, operations = ("product", 0) if macs else _arithmetic(equation)
        self._note(
            path, name, kind, macs or Macs(0, 0), operations, 0, inputs, outputs, times
        )
        return outputs

    def _note(self, *fields: Any) -> None:
        self.equations.append(Equation(*fields))

    def _deform(
        self, equation: Any, inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        """Notes sampling apart from the product; where it falls nobody knows."""
        outputs = [_value(variable) for variable in equation.outvars]
        kernel = next(v.shape for v in inputs[2:] if len(v.shape) == 4)
        taps = math.prod(outputs[0].shape[:3]) * math.prod(kernel[:2])
        count = math.prod(outputs[0].shape) * math.prod(kernel[:3])
        sampled = 4 * taps * inputs[0].shape[-1]
        macs = Macs(count, count)
        self._note(
            path, "deform_conv2d", "product", macs, 0, sampled, inputs, outputs, times
        )
        return outputs

    def _scan(
        self, params: dict[str, Any], inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        inner, length = jaxpr_of(params["jaxpr"]), params["length"]
        split = params["num_consts"] + params["num_carry"]
        slices = [_value(variable) for variable in inner.invars[split:]]
        results = self._run(inner, [*inputs[:split], *slices], path, times * length)
        carries = results[: params["num_carry"]]
        stacks = [
            Value((length, *value.shape), value.dtype)
            for value in results[params["num_carry"] :]
        ]
        if stacks:
            collected = results[params["num_carry"] :]
            self._note(
                path, "stack", "move", Macs(0, 0), 0, 0, collected, stacks, times
            )
        return [*carries, *stacks]

    def _while(
        self, params: dict[str, Any], inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        before = len(self.equations)
        skipped = params["cond_nconsts"]
        count = 1 if self._trip_count is None else self._trip_count
        body = jaxpr_of(params["body_jaxpr"])
        outputs = self._run(body, inputs[skipped:], path, times * count)
        added = self.equations[before:]
        if self._trip_count is None and any(e.macs.published for e in added):
            raise errors.UserError(
                "there is a while loop of unknown length around products"
                f"{f' in {path}' if path else ''}; pass trip_count"
            )
        return outputs

    def _cond(
        self, equation: Any, inputs: list[Value], path: str, times: int
    ) -> list[Value]:
        """Takes the platform's branch, or the one with the most products."""
        branches = [jaxpr_of(branch) for branch in equation.params["branches"]]
        platforms = equation.params.get("branches_platforms")
        if platforms is not None:
            chosen = [
                branch
                for branch, names in zip(branches, platforms, strict=True)
                if names is None or self._platform in names
            ]
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
        return "reduction", size * math.prod(params["window_dimensions"])
    if name.startswith(("reduce", "arg", "cum", "sort")):
        return "reduction", equation.invars[0].aval.size
    return "other", size
