"""Models as programs in a file, which run without the code that made them."""

import dataclasses
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from cnnjax import errors, trees
from cnnjax.errors import UserError
from cnnjax.inference._artefact import read_artefact, read_json, write_artefact
from cnnjax.inference._compiler import compiler_options
from cnnjax.inference._fold import fold_batch_norm
from cnnjax.inference._lowerings import for_inference


PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

ImagesShape = Sequence[int | None]  # [n, h, w, c]; n is None for any number.


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model from a file: `model(images)` returns its output; `load` makes it.

    Attributes:
      images_shape: (n, h, w, c) of the float32 images that it takes; n is None if it
        takes any number of them.
      platforms: where it runs.
      call: the compiled program with its weights.
    """

    images_shape: tuple[int | None, ...]
    platforms: tuple[str, ...]
    call: Callable[[Array], Any] = dataclasses.field(repr=False)

    def __call__(self, images: Any) -> Any:
        """Computes the output.

        Raises:
          UserError: if the images have another shape or no floating dtype.
        """
        return self.call(check_images(images, self.images_shape))


def check_images(images: Any, wanted: Sequence[int | None]) -> Array:
    """Returns images as a float32 array.

    Raises:
      UserError: if they have another shape than the wanted one, in which None stands
        for any number, or no floating dtype.
    """
    images = jnp.asarray(images)
    same = len(images.shape) == len(wanted) and all(
        length == size or (size is None and length > 0)
        for length, size in zip(images.shape, wanted, strict=True)
    )
    if not same or not jnp.issubdtype(images.dtype, jnp.floating):
        shape = ", ".join("n" if size is None else str(size) for size in wanted)
        raise UserError(
            f"these images are {images.dtype} {images.shape}, but the model takes "
            f"float32 ({shape})"
        )
    return images.astype(jnp.float32)


def export(
    model: nn.Module,
    variables: Mapping[str, Any],
    images_shape: ImagesShape,
    path: str | os.PathLike[str],
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Writes a model into one file that `load` runs without the model's code.

    BatchNorm is folded; what is left is a StableHLO program for every platform, with
    the weights beside it by path in a safetensors file.

    Args:
      model: any Linen module; of a tuple that it returns only the first is kept, so of
        (output, endpoints) the output.
      variables: its variables.
      images_shape: [n, h, w, c] of float32 images; None as n for any number of them.
      path: the file, written whole or not at all.
      platforms: where it shall run: "cpu", "cuda", "rocm", "tpu".

    Raises:
      UserError: if the variables are not the model's, a platform does not exist, the
        model cannot take any number of images, or the extra `export` is missing.

    Source: https://docs.jax.dev/en/latest/export/export.html.
    """
    if not platforms:
        raise UserError("name at least one platform")
    for platform in platforms:
        if platform not in PLATFORMS:
            raise errors.unknown("platform", platform, PLATFORMS)
    run, arrays, images = prepare(model, variables, images_shape)
    write_program(path, for_inference(run), arrays, images, platforms)


def write_program(
    path: str | os.PathLike[str],
    run: Callable[..., Any],
    arrays: Mapping[str, Any],
    images: jax.ShapeDtypeStruct,
    platforms: Sequence[str],
) -> None:
    """Writes what `load` reads.

    Args:
      path: the file.
      run: the function (arrays, images) -> output.
      arrays: its arrays by name.
      images: their shape, with a symbol for any number of them, and dtype.
      platforms: where it shall run.

    Raises:
      UserError: if it cannot take any number of images, or the extra `export` is
        missing.
    """
    _check_flatbuffers()
    shapes = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype)
        for name, array in arrays.items()
    }
    make = jax.export.export(jax.jit(run), platforms=tuple(platforms))
    images_shape = [d if type(d) is int else None for d in images.shape]
    exported = with_any_batch(lambda: make(shapes, images), images_shape)
    metadata = {
        "jax_version": jax.__version__,
        "calling_convention": json.dumps(exported.calling_convention_version),
        "platforms": json.dumps(exported.platforms),
        "images_shape": json.dumps(images_shape),
        "images_dtype": images.dtype.name,
    }
    plain = {name: np.asarray(array) for name, array in arrays.items()}
    write_artefact(path, bytes(exported.serialize()), plain, metadata)


def load(path: str | os.PathLike[str]) -> Exported:
    """Reads what `export` wrote.

    JAX runs programs of its own versions of the last half year, and of the next three
    weeks; what it does not run any more has to be exported again. Nothing in the file
    is unpickled; but it is a program: run those of people whom you trust.

    Args:
      path: the file.

    Returns:
      The model, to be called with images; it is compiled when first called.

    Raises:
      UserError: if there is no such file, it is damaged or of another kind, this
        version of JAX or of cnnjax does not read it, it was not exported for this
        platform, or the extra `export` is missing.

    Source: https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees.
    """
    _check_flatbuffers()
    path = Path(path)
    program, arrays, metadata = read_artefact(path)
    platforms = read_json(path, metadata, "platforms", list)
    shape = read_json(path, metadata, "images_shape", list)
    _check_version(path, metadata)
    here = jax.export.default_export_platform()
    if here not in platforms:
        raise UserError(
            f"{path} was exported for {', '.join(map(str, platforms))}, not for "
            f"{here}: export it for {here}, too"
        )
    try:
        exported = jax.export.deserialize(bytearray(program))
        shapes, images = exported.in_tree.unflatten(exported.in_avals)[0]
        found = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        same = found == {name: (a.shape, a.dtype) for name, a in shapes.items()}
        same &= tuple(exported.platforms) == tuple(platforms)
        same &= [d if type(d) is int else None for d in images.shape] == shape
    except Exception as error:  # Whatever nonsense from outside makes the reader do.
        wrote = metadata.get("jax_version")
        raise UserError(
            f"{path} is damaged, or jax {jax.__version__} does not read what jax "
            f"{wrote} wrote: {first_line(error)}"
        ) from error
    if not same:
        raise UserError(f"{path} is damaged: its program is not of its weights")
    arrays = jax.device_put(arrays)
    compiled = jax.jit(exported.call, compiler_options=compiler_options())

    def call(images: Array) -> Any:
        # JAX takes no options inside another compiled function, which has its own.
        inside = isinstance(images, Tracer)
        return (exported.call if inside else compiled)(arrays, images)

    return Exported(tuple(shape), tuple(platforms), call)


def prepare(
    model: nn.Module, variables: Mapping[str, Any], images_shape: ImagesShape
) -> tuple[Callable[..., Any], dict[str, np.ndarray], jax.ShapeDtypeStruct]:
    """Folds a model, and returns what there is to export.

    Args:
      model, variables, images_shape: as in `export`.

    Returns:
      The function (arrays, images) -> output, its arrays by path, and the shape of the
      images, which has a symbol for any number of them.

    Raises:
      UserError: if the variables are not the model's, or the shape is none.
    """
    n, *rest = images_shape
    concrete = [size for size in (1 if n is None else n, *rest) if size is not None]
    if len(concrete) < len(images_shape) or min(concrete) < 1:
        raise UserError(
            f"images_shape has to be (n, h, w, c), n a number or None, not "
            f"{tuple(images_shape)}"
        )
    model, variables = fold_batch_norm(model, variables, concrete)
    arrays = {name: np.asarray(a) for name, a in trees.flat(variables).items()}
    symbols = jax.export.symbolic_shape("n") if n is None else (n,)
    images = jax.ShapeDtypeStruct((*symbols, *rest), jnp.float32)

    def run(arrays, images):
        variables = flax.traverse_util.unflatten_dict(arrays, sep="/")
        output = model.apply(variables, images)
        return output[0] if isinstance(output, tuple) else output

    return run, arrays, images


def with_any_batch(trace: Callable[[], Any], images_shape: ImagesShape) -> Any:
    """Traces a function; says so if it depends on the number of images.

    Raises:
      UserError: if it does, and the number is not given.
    """
    try:
        return trace()
    except Exception as error:  # Of any kind, wherever code wants to know the number.
        if images_shape[0] is not None:
            raise
        raise UserError(
            "this model cannot be traced for any number of images; give images_shape "
            f"one: {first_line(error)}"
        ) from error


def first_line(error: Exception) -> str:
    """Returns what an error says first, or its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_version(path: Path, metadata: Mapping[str, str]) -> None:
    version = read_json(path, metadata, "calling_convention", int)
    first = jax.export.minimum_supported_calling_convention_version
    last = jax.export.maximum_supported_calling_convention_version
    if not first <= version <= last:
        mend = "export it again" if version < first else "install a newer jax"
        raise UserError(
            f"{path} has calling convention {version} (jax "
            f"{metadata.get('jax_version')} exported it), but jax {jax.__version__} "
            f"runs {first} to {last}: {mend}"
        )


def _check_flatbuffers() -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError(
            "exported programs need flatbuffers; pip install 'cnnjax[export]'"
        )
