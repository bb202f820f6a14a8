"""A model compiled for images of one shape, on one platform."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from cnnjax.inference._compiler import compiler_options
from cnnjax.inference._export import check_images, prepare, write_program
from cnnjax.inference._lowerings import for_inference
from cnnjax.inference._once import compute_once


class Specialised:
    """A model that takes images of one shape; `specialise` makes it.

    Attributes:
      images_shape: (n, h, w, c) of the images.
      platform: where it was compiled for.
      compiled: JAX's form of it, which tells its program, memory and cost.
    """

    def __init__(self, run: Any, arrays: Mapping[str, Any], images: Any) -> None:
        """Compiles a function and runs it once.

        Args:
          run: (arrays, images) -> output.
          arrays: its arrays by name.
          images: their shape and dtype.
        """
        self.images_shape: tuple[int, ...] = images.shape
        self.platform = jax.default_backend()
        self._run, self._images = run, images
        self._arrays = jax.device_put(dict(arrays))
        lowered = jax.jit(run).lower(self._arrays, images)
        self.compiled = lowered.compile(compiler_options=compiler_options())
        jax.block_until_ready(self(jnp.zeros(images.shape, images.dtype)))

    def __call__(self, images: Any) -> Array:
        """Returns the model's output for images [n, h, w, c].

        Raises:
          UserError: if they have another shape, or no floating dtype.
        """
        return self.compiled(self._arrays, check_images(images, self.images_shape))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it into one file for `cnnjax.inference.load`, which compiles it again.

        The compiled code itself is not kept: reading that back would run whatever the
        file says. JAX's compilation cache (`jax_compilation_cache_dir`) keeps it.

        Args:
          path: the file, written whole or not at all.

        Raises:
          UserError: if the extra `export` is missing.
        """
        platform = {"gpu": "cuda"}.get(self.platform, self.platform)
        write_program(path, self._run, self._arrays, self._images, [platform])


def specialise(
    model: nn.Module, variables: Mapping[str, Any], images_shape: Sequence[int]
) -> Specialised:
    """Compiles a model for images of one shape, as fast as it goes.

    BatchNorm is folded, the endpoints are left out, each convolution, be it of
    `cnnjax.ops` or of `jax.lax`, is lowered as is fastest, and what weights alone
    decide, as Winograd's values of kernels on CPUs, is computed once. Most of the time
    that is left goes into products of matrices there.

    >>> model = nn.Conv(2, (3, 3))
    >>> images = jnp.ones((1, 4, 4, 3))
    >>> fast = specialise(model, model.init(jax.random.key(0), images), images.shape)
    >>> fast(images).shape
    (1, 4, 4, 2)

    Args:
      model: any Linen module; of a tuple that it returns only the first is kept, so of
        (output, endpoints) the output.
      variables: its variables.
      images_shape: [n, h, w, c] of float32 images.

    Returns:
      The function images -> output, compiled and run once. Images are not donated: no
      output could take their place.

    Raises:
      UserError: if the variables are not the model's, or the shape is none.
    """
    run, arrays, images = prepare(model, variables, images_shape)
    return Specialised(*compute_once(for_inference(run), arrays, images), images)
