"""Models as ONNX files, through jax2onnx."""

import functools
import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from cnnjax.errors import UserError
from cnnjax.inference._export import ImagesShape, first_line, prepare, with_any_batch
from cnnjax.inference._interpreter import evaluate
from cnnjax.ops._spec import ConvSpec


def export_onnx(
    model: nn.Module,
    variables: Mapping[str, Any],
    images_shape: ImagesShape,
    path: str | os.PathLike[str],
) -> None:
    """Writes a model as an ONNX file, with standard operators only.

    BatchNorm is folded, convolutions are `Conv` nodes, and whatever is chosen by
    platform is as XLA's own operations have it. The input `images` is float32 NHWC,
    and the output `output`.

    Args:
      model: any Linen module; of a tuple that it returns only the first is kept, so of
        (output, endpoints) the output.
      variables: its variables.
      images_shape: [n, h, w, c] of the images; None as n for any number of them.
      path: the file, written whole or not at all.

    Raises:
      UserError: if the variables are not the model's, jax2onnx has no ONNX for one of
        the model's operations (it is named), the model cannot take any number of
        images, or the extra `onnx` is missing.

    Source: https://github.com/enpasos/jax2onnx.
    """
    try:
        jax2onnx = importlib.import_module("jax2onnx")
    except ImportError as error:
        raise UserError(
            f"ONNX files need jax2onnx; pip install 'cnnjax[onnx]': {error}"
        ) from error
    run, arrays, images = prepare(model, variables, images_shape)
    trace = jax.make_jaxpr(functools.partial(run, jax.device_put(arrays)))
    program = with_any_batch(lambda: trace(images), images_shape)
    try:
        proto = jax2onnx.to_onnx(
            lambda images: evaluate(program, [images], _in_lax),
            [images],
            model_name=type(model).__name__,
            input_names=["images"],
            output_names=["output"],
        )
    except Exception as error:  # Of any kind, wherever its converters meet the unknown.
        raise UserError(
            f"jax2onnx cannot convert {type(model).__name__}: {first_line(error)}"
        ) from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    try:
        scratch.write_bytes(proto.SerializeToString())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _in_lax(equation: Any, inputs: list[Any]) -> Sequence[Any] | None:
    """Computes an equation by `lax`'s primitives alone.

    Loops of known length are unrolled, and of what is chosen by platform the default is
    taken, which is XLA's own.
    """
    primitive, params = equation.primitive, equation.params
    if primitive.name == "platform_index":
        return [0]  # Only the choice below would ask.
    if primitive.name == "cond" and params.get("branches_platforms") is not None:
        default = params["branches_platforms"].index(None)
        return evaluate(params["branches"][default], inputs[1:], _in_lax)
    if primitive.name == "scan":
        return _unrolled(params, inputs)
    if primitive.name == "cnnjax_conv_general_dilated":
        return [ConvSpec(**params).reference(*inputs)]
    if primitive.name == "pad" and _is_plain_pad(inputs[1], **params):
        return [_pad(*inputs, **params)]
    if primitive.name == "reduce_window_max" and _pools_images(**params):
        return [_max_pool(*inputs, **params)]
    scalars = all(variable.aval.shape == () for variable in equation.outvars)
    if not scalars or any(isinstance(x, Tracer) for x in inputs):
        return None
    with jax.ensure_compile_time_eval():
        outputs = primitive.bind(*inputs, **params)
    return outputs if primitive.multiple_results else [outputs]


def _is_plain_pad(value, *, padding_config):
    return not isinstance(value, Tracer) and all(
        low >= 0 and high >= 0 and not between for low, high, between in padding_config
    )


def _pad(x, value, *, padding_config):
    """Pads by what jax2onnx has a converter for, whatever the number of images."""
    sides = [(low, high) for low, high, _ in padding_config]
    return jnp.pad(x, sides, constant_values=value) if any(map(any, sides)) else x


def _pools_images(
    *, window_dimensions, window_strides, padding, base_dilation, window_dilation
):
    """Returns whether windows are of rows and columns of NHWC images."""
    plain = {*base_dilation, *window_dilation} == {1} and len(padding) == 4
    outer = (window_dimensions, window_strides, [1 + sum(sides) for sides in padding])
    return plain and all(sizes[0] == sizes[3] == 1 for sizes in outer)


def _max_pool(x, *, window_dimensions, window_strides, padding, **_):
    """Pools by what jax2onnx makes a `MaxPool` of, which has no padding of its own."""
    x = _pad(x, -np.inf, padding_config=[(*sides, 0) for sides in padding])
    window, strides = window_dimensions[1:3], window_strides[1:3]
    return nn.max_pool(x, window_shape=window, strides=strides, padding="VALID")


def _unrolled(params: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
    """Evaluates a `scan` step by step."""
    first = params["num_consts"]
    last = first + params["num_carry"]
    consts, carry, rows = inputs[:first], inputs[first:last], inputs[last:]
    steps = range(params["length"])
    found = []
    for i in reversed(steps) if params["reverse"] else steps:
        row = [lax.index_in_dim(array, i, keepdims=False) for array in rows]
        outputs = evaluate(params["jaxpr"], [*consts, *carry, *row], _in_lax)
        carry = outputs[: params["num_carry"]]
        found.append(outputs[params["num_carry"] :])
    if params["reverse"]:
        found.reverse()
    return [*carry, *(jnp.stack(column) for column in zip(*found, strict=True))]
