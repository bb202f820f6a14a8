"""The convolution in lax's place: its contexts, arguments and limits."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax import ops


X, K = jnp.ones((2, 6, 7, 4)), jnp.ones((3, 3, 4, 6))


def conv(module, x=X, kernel=K, **options):
    given = {"window_strides": (1, 1), "padding": "SAME"} | options
    given = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")} | given
    return module.conv_general_dilated(x, kernel, **given)


def square(function):
    return jax.grad(lambda x, k: (function(x, k) ** 2).sum(), argnums=(0, 1))


def precisions(function, *arguments):
    exported = jax.export.export(jax.jit(function), platforms=["tpu"])(*arguments)
    return re.findall(r"(?<=precision)(?:_config)? = \[.*?\]", exported.mlir_module())


def test_precision_of_a_context_is_kept():
    def found(module):
        def function(x, k):
            with jax.default_matmul_precision("highest"):
                return conv(module, x, k)

        return precisions(function, X, K), precisions(square(function), X, K)

    assert found(ops) == found(lax)
    assert len(found(ops)[0]) == 1
    assert all("HIGHEST" in text for text in found(ops)[1])


@pytest.mark.parametrize(
    "precision",
    [
        "highest",
        lax.Precision.HIGH,
        ("high", "highest"),
        ["high", "highest"],
        (lax.Precision.HIGH, lax.Precision.DEFAULT),
    ],
)
def test_precision_in_all_forms(precision):
    def found(module):
        return precisions(lambda x, k: conv(module, x, k, precision=precision), X, K)

    assert found(ops) == found(lax) != []


@pytest.mark.parametrize(
    "lowering, kernel",
    [
        ("pointwise", (1, 1, 4, 6)),
        ("patches", (6, 7, 4, 6)),
        ("im2col", (3, 3, 4, 64)),
        ("dense", (3, 3, 4, 6)),
    ],
)
def test_forced_lowerings_keep_the_precision(lowering, kernel):
    options = {"precision": "highest", "padding": "VALID", "lowering": lowering}
    gradient = square(lambda x, k: conv(ops, x, k, **options))
    found = precisions(gradient, X, jnp.ones(kernel))
    assert len(found) == 3
    assert all("HIGHEST" in text for text in found)


def test_works_where_jit_is_disabled():
    with jax.disable_jit():
        np.testing.assert_allclose(conv(ops), conv(lax))


def lowering_of(shape, kernel, **options):
    x, kernel = (jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, kernel))
    jaxpr = jax.make_jaxpr(lambda x, k: conv(ops, x, k, **options))(x, kernel)
    (equation,) = jaxpr.eqns
    return equation.params.get("lowering", "lax")


@pytest.mark.parametrize(
    "size, lowering", [(3, "depthwise"), (7, "depthwise"), (8, "lax"), (31, "lax")]
)
def test_depthwise_kernels_that_take_long_to_compile_are_xlas(size, lowering):
    kernel = (size, size, 1, 64)
    found = lowering_of((1, 32, 32, 64), kernel, feature_group_count=64)
    assert found == lowering


@pytest.mark.parametrize(
    "size, step, groups, lowering",
    [
        (2, 2, 1, "transposed"),
        (4, 2, 1, "transposed"),
        (4, 2, 64, "transposed"),
        (8, 4, 1, "transposed"),
        (16, 8, 1, "lax"),
        (64, 32, 1, "lax"),
    ],
)
def test_transposed_kernels_that_take_long_to_compile_are_xlas(
    size, step, groups, lowering
):
    found = lowering_of(
        (1, 8, 8, 64),
        (size, size, 64 // groups, 64),
        padding=[(size - 1, size - 1)] * 2,
        lhs_dilation=(step, step),
        feature_group_count=groups,
    )
    assert found == lowering


def test_many_groups_of_many_phases_are_xlas():
    options = {"lhs_dilation": (2, 2), "feature_group_count": 32}
    options |= {"padding": [(3, 3)] * 2}
    assert lowering_of((1, 8, 8, 64), (4, 4, 2, 64), **options) == "lax"


def test_long_gradients_are_xlas():
    """A depthwise 8x8 with stride 8 would have 64 phases."""
    options = {"window_strides": (7, 7), "feature_group_count": 64}
    shapes = (1, 14, 14, 64), (7, 7, 1, 64)
    assert lowering_of(*shapes, **options) == "depthwise"
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    gradient = square(lambda x, k: conv(ops, x, k, **options))
    text = jax.jit(gradient).lower(*arguments).as_text()
    assert text.count("stablehlo.convolution") == 1


def test_an_image_sized_kernel_is_one_product():
    options = {"padding": "VALID"}
    assert lowering_of((2, 14, 14, 16), (14, 14, 16, 64), **options) == "patches"
    x = jnp.asarray(np.random.RandomState(0).randn(2, 5, 4, 3), jnp.float32)
    kernel = jnp.asarray(np.random.RandomState(1).randn(5, 4, 3, 2), jnp.float32)
    arguments = x, kernel
    np.testing.assert_allclose(
        conv(ops, *arguments, **options), conv(lax, *arguments, **options), rtol=1e-5
    )


@pytest.mark.parametrize("axes", [(None, 0), (0, 0)])
def test_vmapped_kernels_are_one_named_equation(axes):
    arguments = [
        a if axis is None else jnp.stack([a, a])
        for a, axis in zip((X, K), axes, strict=True)
    ]
    mapped = jax.vmap(functools.partial(conv, ops), in_axes=axes)
    (equation,) = jax.make_jaxpr(mapped)(*arguments).eqns
    name = equation.params["name"]
    assert name.startswith("cnnjax_conv_general_dilated(")
    assert "window_strides=(1, 1)" in name


@pytest.mark.parametrize("kernel, groups", [((3, 3, 4, 6), 1), ((3, 3, 1, 4), 4)])
def test_vmap_over_an_explicit_mesh(kernel, groups):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.stack([X, 2 * X]), NamedSharding(mesh, P("batch")))
        kernel = jax.device_put(jnp.ones(kernel), NamedSharding(mesh, P()))

        def mapped(module):
            one = functools.partial(conv, module, feature_group_count=groups)
            return jax.jit(jax.vmap(one, in_axes=(0, None)))(x, kernel)

        # Forward only: there lax itself has no gradients.
        np.testing.assert_allclose(mapped(ops), mapped(lax), rtol=1e-5)


def test_other_floats_are_laxs():
    x, kernel = (a.astype(jnp.float8_e4m3fn) for a in (X, K))
    jaxpr = jax.make_jaxpr(functools.partial(conv, ops))(x, kernel)
    assert jaxpr.eqns[0].primitive.name == "conv_general_dilated"


def test_weak_types_stay():
    x, kernel = lax.full(X.shape, 1.0), lax.full(K.shape, 1.0)
    for a, b in ((x, kernel), (x, K), (X, kernel)):
        assert conv(ops, a, b).weak_type == conv(lax, a, b).weak_type
    assert conv(ops, x, kernel).weak_type


@pytest.mark.parametrize(
    "options",
    [
        {"rhs_dilation": np.array([1, 2])},
        {"lhs_dilation": np.array([2, 1]), "padding": [(1, 1), (1, 1)]},
        {"window_strides": np.array([2, 1])},
        {"padding": np.array([[1, 0], [0, 2]])},
        {"padding": "same"},
    ],
)
def test_arguments_that_lax_takes(options):
    np.testing.assert_array_equal(conv(ops, **options), conv(lax, **options))


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": 1},
        {"window_strides": (1,)},
        {"window_strides": (1, 1, 1)},
        {"window_strides": (1.0, 1.0)},
        {"window_strides": None},
        {"rhs_dilation": 2},
        {"rhs_dilation": ()},
        {"rhs_dilation": (1, 1, 1)},
        {"lhs_dilation": 2, "padding": [(1, 1), (1, 1)]},
        {"lhs_dilation": (1, 1, 1), "padding": [(1, 1), (1, 1)]},
        {"padding": 1},
        {"padding": [1, 1]},
        {"padding": [(1, 1)]},
        {"padding": [(1, 1)] * 3},
        {"padding": [(1.5, 1), (1, 1)]},
        {"padding": [(1, 1, 0), (1, 1, 0)]},
        {"precision": "junk"},
    ],
)
def test_arguments_that_lax_refuses_have_its_own_error(options):
    def error(module):
        module = jaxtyping_free(module)
        with pytest.raises((ValueError, TypeError)) as caught:
            conv(module, **options)
        return type(caught.value), str(caught.value).partition("\n")[0]

    assert error(ops) == error(lax)


def jaxtyping_free(module):
    """Takes off the checks of types that only these tests have."""
    if module is lax:
        return lax

    class Unchecked:
        conv_general_dilated = staticmethod(ops.conv_general_dilated.__wrapped__)

    return Unchecked


@pytest.mark.parametrize(
    "options, kernel",
    [
        ({"window_strides": (0, 1)}, K),
        ({"rhs_dilation": (0, 1)}, K),
        ({"lhs_dilation": (0, 1), "padding": [(1, 1), (1, 1)]}, K),
        ({"padding": "VALID"}, K[:0]),
        ({}, K[:, :0]),
    ],
)
def test_nothing_is_refused_with_names_and_shapes(options, kernel):
    message = r"must be positive: images \(2, 6, 7, 4\), kernel .* window_strides \("
    with pytest.raises(ValueError, match=message):
        conv(ops, X, kernel, **options)
