"""The convolution and its two gradients as primitives: one named equation each.

A convolution is bilinear, so `<g, conv(x, k)>` is linear in each of `x`, `k` and `g`.
The three primitives are the gradients of that form:

    conv(x, k)             = d/dg    cnnjax_conv_general_dilated
    input_gradient(g, k)   = d/dx    cnnjax_conv_input_gradient
    kernel_gradient(x, g)  = d/dk    cnnjax_conv_kernel_gradient

Each one's derivatives are the other two, so that every derivative, of every order and
in both directions, is one of them again and has its fast lowering on CPUs. On other
platforms they are XLA's convolution and its gradients.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from cnnjax.ops._named import named
from cnnjax.ops._spec import ConvSpec, accumulator, transpose, vary_alike
from cnnjax.ops._stored import stored_p


Rule = Callable[[Array, Array, ConvSpec], Array]


@dataclasses.dataclass(frozen=True)
class Lowering:
    """A way to compute a class of convolutions.

    Attributes:
      applies: whether a convolution belongs to the class.
      conv: (x, kernel, spec) -> y.
      input_gradient: (out_grad, kernel, spec) -> gradient; default: `conv` transposed.
      kernel_gradient: (x, out_grad, spec) -> gradient; default: `conv` transposed.
      on_cuda: on which of them it is faster than XLA's own on NVIDIA's GPUs, too.
    """

    applies: Callable[[ConvSpec], bool]
    conv: Rule
    input_gradient: Rule | None = None
    kernel_gradient: Rule | None = None
    on_cuda: Callable[[ConvSpec], bool] = lambda spec: False


LOWERINGS: dict[str, Lowering] = {}  # Filled by `cnnjax.ops._lowerings`.


def choose(spec: ConvSpec) -> ConvSpec:
    """Names the first lowering that applies."""
    name = next(name for name, way in LOWERINGS.items() if way.applies(spec))
    return dataclasses.replace(spec, lowering=name)


def conv(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    """Convolves images [n, h, w, c] with a kernel [kh, kw, c / groups, m]."""
    return _bind(conv_p, x, kernel, spec)


def input_gradient(out_grad: Array, kernel: Array, spec: ConvSpec) -> Array:
    """Returns the gradient [n, h, w, c] of the images."""
    return _bind(input_gradient_p, out_grad, kernel, spec)


def kernel_gradient(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    """Returns the gradient [kh, kw, c / groups, m] of the kernel."""
    return _bind(kernel_gradient_p, x, out_grad, spec)


def spell_out(x: Array, kernel: Array, **params: Any) -> Array:
    """Returns what `conv_p` with these parameters does on CPUs, in its operations."""
    return _accumulate(_conv_on_cpu, x, kernel, ConvSpec(**params))


def _accumulate(rule: Rule, a: Array, b: Array, spec: ConvSpec) -> Array:
    dtype = accumulator(a.dtype)
    return rule(a.astype(dtype), b.astype(dtype), spec).astype(a.dtype)


def _bind(primitive: Primitive, a: Array, b: Array, spec: ConvSpec) -> Array:
    return primitive.bind(*vary_alike(a, b), **vars(spec))


def _conv_on_cpu(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    return LOWERINGS[spec.lowering].conv(x, kernel, spec)


def _input_gradient_on_cpu(out_grad: Array, kernel: Array, spec: ConvSpec) -> Array:
    lowering = LOWERINGS[spec.lowering]
    if lowering.input_gradient is not None:
        return lowering.input_gradient(out_grad, kernel, spec)
    shape = (out_grad.shape[0], *spec.image_shape)
    return transpose(lambda x: lowering.conv(x, kernel, spec), shape, out_grad)


def _kernel_gradient_on_cpu(x: Array, out_grad: Array, spec: ConvSpec) -> Array:
    lowering = LOWERINGS[spec.lowering]
    if lowering.kernel_gradient is not None:
        return lowering.kernel_gradient(x, out_grad, spec)
    return transpose(lambda k: lowering.conv(x, k, spec), spec.kernel_shape, out_grad)


def _reference(x: Array, kernel: Array, spec: ConvSpec) -> Array:
    return spec.reference(x, kernel)


def _reference_input_gradient(g: Array, kernel: Array, spec: ConvSpec) -> Array:
    shape = (g.shape[0], *spec.image_shape)
    return transpose(lambda x: spec.reference(x, kernel), shape, g)


def _reference_kernel_gradient(x: Array, g: Array, spec: ConvSpec) -> Array:
    return transpose(lambda k: spec.reference(x, k), spec.kernel_shape, g)


def _define(name: str, result_shape: Callable, on_cpu: Rule, elsewhere: Rule):
    """Makes a primitive of two arrays.

    Args:
      name: what stands in a jaxpr.
      result_shape: (batch size, spec) -> the result's shape.
      on_cpu: the result, by the lowering that the spec names.
      elsewhere: the result, by XLA's convolution.
    """
    primitive = Primitive(name)

    @functools.cache
    def compiled(spec: ConvSpec):
        return jax.jit(functools.partial(primitive.bind, **vars(spec)))

    @primitive.def_impl
    def call(a, b, **params):
        with jax.disable_jit(False):  # Else it would bind, and call this, for ever.
            return compiled(ConvSpec(**params))(a, b)

    @primitive.def_abstract_eval
    def abstract(a, b, **params):
        shape = result_shape(a.shape[0], ConvSpec(**params))
        return a.update(shape=shape, weak_type=a.weak_type and b.weak_type)

    def lower_on_cpu(a, b, **params):
        return _accumulate(on_cpu, a, b, ConvSpec(**params))

    def lower_elsewhere(a, b, **params):
        spec = ConvSpec(**params)
        return (
            lower_on_cpu(a, b, **params) if spec.everywhere else elsewhere(a, b, spec)
        )

    def lower_on_cuda(a, b, **params):
        spec = ConvSpec(**params)
        faster = LOWERINGS[spec.lowering].on_cuda(spec)
        return (lower_on_cpu if faster else lower_elsewhere)(a, b, **params)

    for lower, platform in (
        (lower_elsewhere, None),
        (lower_on_cpu, "cpu"),
        (lower_on_cuda, "cuda"),
    ):
        rule = mlir.lower_fun(lower, multiple_results=False)
        mlir.register_lowering(primitive, rule, platform=platform)

    def batched(a, b, *, axes, **params):
        def one(a, b):
            cpu = functools.partial(lower_on_cpu, **params)
            default = functools.partial(lower_elsewhere, **params)
            return lax.platform_dependent(a, b, cpu=cpu, default=default)

        return jax.vmap(one, in_axes=axes)(a, b)

    one_equation = named(batched, name)

    def batch(arrays, axes, **params):
        a, b = arrays
        if any(axis for array in arrays for axis in jax.typeof(array).sharding.spec):
            # Split over an explicit mesh: only XLA's own knows what to do.
            spec = ConvSpec(**params)
            xlas = jax.vmap(lambda a, b: elsewhere(a, b, spec), in_axes=axes)
            return xlas(a, b), 0
        if axes[1] is None and primitive is not kernel_gradient_p:
            # More images are a larger batch.
            a = jnp.moveaxis(a, axes[0], 0)
            merged = a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])
            result = _bind(primitive, merged, b, ConvSpec(**params))
            return result.reshape(*a.shape[:2], *result.shape[1:]), 0
        return one_equation(a, b, axes=tuple(axes), **params), 0

    batching.primitive_batchers[primitive] = batch
    return primitive


conv_p = _define(
    "cnnjax_conv_general_dilated",
    lambda batch_size, spec: (batch_size, *spec.out_shape),
    _conv_on_cpu,
    _reference,
)
input_gradient_p = _define(
    "cnnjax_conv_input_gradient",
    lambda batch_size, spec: (batch_size, *spec.image_shape),
    _input_gradient_on_cpu,
    _reference_input_gradient,
)
kernel_gradient_p = _define(
    "cnnjax_conv_kernel_gradient",
    lambda _, spec: spec.kernel_shape,
    _kernel_gradient_on_cpu,
    _reference_kernel_gradient,
)

# How each one transposes, in its first array and in its second; see the top.
ad.defbilinear(
    conv_p,
    lambda g, _, k, **params: input_gradient(g, k, ConvSpec(**params)),
    lambda g, x, _, **params: kernel_gradient(x, g, ConvSpec(**params)),
)
ad.defbilinear(
    input_gradient_p,
    lambda x, _, k, **params: conv(x, k, ConvSpec(**params)),
    lambda x, g, _, **params: kernel_gradient(x, g, ConvSpec(**params)),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda k, _, g, **params: input_gradient(g, k, ConvSpec(**params)),
    lambda k, x, _, **params: conv(x, k, ConvSpec(**params)),
)


def _conv_jvp(primals, tangents, **params):
    x, kernel = primals  # The images are read in both passes.
    return bilinear_jvp((stored_p.bind(x), kernel), tangents, **params)


bilinear_jvp = ad.primitive_jvps[conv_p]
ad.primitive_jvps[conv_p] = _conv_jvp
