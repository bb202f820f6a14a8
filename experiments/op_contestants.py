"""The same operation by XLA, by `cnnjax.ops` and by PyTorch, for `benchmark_ops.py`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from conv_shapes import Shape
from jax import lax
from timing import Run, torch, torch_device

from cnnjax import ops


def make_arrays(
    shape: Shape, batch_size: int, dtype: str = "float32"
) -> tuple[np.ndarray, ...]:
    """Returns images [n, h, w, c] and, unless it pools, a kernel [k, k, c / g, m]."""
    random = np.random.RandomState(0)
    images = random.randn(batch_size, shape.size, shape.size, shape.channels)
    size = (shape.kernel, shape.kernel, shape.channels // shape.groups, shape.features)
    kernel = random.randn(*size) / shape.kernel
    arrays = (images,) if shape.pooling else (images, kernel)
    return tuple(array.astype(jnp.dtype(dtype)) for array in arrays)


def contestants(
    shape: Shape, arrays: tuple[np.ndarray, ...]
) -> tuple[dict[str, Run], dict[str, Run]]:
    """Returns by name what computes y, and what computes y and its gradients."""
    functions = {
        "lax": lax_max_pool(shape) if shape.pooling else lax.conv_general_dilated,
        "cnnjax": our_max_pool(shape) if shape.pooling else ops.conv_general_dilated,
    }
    placed = jax.device_put(arrays)
    forward, both = {}, {}
    for name, function in functions.items():
        if not shape.pooling:
            function = as_convolution(function, shape)
        forward[name] = functools.partial(jax.jit(function), *placed)
        both[name] = with_gradient(function, *placed)
    if torch is not None:
        forward["torch"], both["torch"] = of_torch(shape, arrays)
    return forward, both


def as_convolution(conv: Callable, shape: Shape) -> Callable:
    """Returns the convolution (x, k) -> y by `conv`, which has lax's signature."""
    padding = shape.kernel - 1 - shape.padding if shape.transposed else shape.padding
    strides = (shape.stride, shape.stride)
    return functools.partial(
        conv,
        window_strides=(1, 1) if shape.transposed else strides,
        padding=[(padding, padding)] * 2,
        lhs_dilation=strides if shape.transposed else (1, 1),
        rhs_dilation=(shape.dilation, shape.dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=shape.groups,
    )


def lax_max_pool(shape: Shape) -> Callable:
    """Returns the pooling x -> y as JAX's users write it."""
    return functools.partial(
        lax.reduce_window,
        init_value=-jnp.inf,
        computation=lax.max,
        window_dimensions=(1, shape.kernel, shape.kernel, 1),
        window_strides=(1, shape.stride, shape.stride, 1),
        padding=((0, 0), *[(shape.padding, shape.padding)] * 2, (0, 0)),
    )


def our_max_pool(shape: Shape) -> Callable:
    """Returns the pooling x -> y."""
    geometry = {"strides": shape.stride, "padding": shape.padding}
    return functools.partial(ops.max_pool2d, window=shape.kernel, **geometry)


def with_gradient(function: Callable, *arrays: jax.Array) -> Run:
    """Returns a function () -> (y, *gradients) for a cotangent of ones."""

    def run(g, *arrays):
        y, pullback = jax.vjp(function, *arrays)
        return y, *pullback(g)

    out = jax.eval_shape(function, *arrays)
    return functools.partial(jax.jit(run), jnp.ones(out.shape, out.dtype), *arrays)


def of_torch(shape: Shape, arrays: tuple[np.ndarray, ...]) -> tuple[Run, Run]:
    """Returns () -> y and () -> (y, *gradients) in PyTorch, channels last."""
    orders = (0, 3, 1, 2), (2, 3, 0, 1) if shape.transposed else (3, 2, 0, 1)
    tensors = [
        torch.from_numpy(array.transpose(order).astype(np.float32)).to(
            device=torch_device(),
            dtype=getattr(torch, array.dtype.name),
            memory_format=torch.channels_last,
        )
        for array, order in zip(arrays, orders, strict=False)
    ]
    functional = torch.nn.functional
    geometry = {"stride": shape.stride, "padding": shape.padding}
    if shape.pooling:
        function = functools.partial(
            functional.max_pool2d, kernel_size=shape.kernel, **geometry
        )
    else:
        convolve = (
            functional.conv_transpose2d if shape.transposed else functional.conv2d
        )
        more = {"dilation": shape.dilation, "groups": shape.groups}
        function = functools.partial(convolve, **geometry, **more)

    def forward():
        with torch.inference_mode():
            return function(*tensors)

    def both():
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        y = function(*leaves)
        y.backward(torch.ones_like(y))
        return y, *(leaf.grad for leaf in leaves)

    return forward, both
