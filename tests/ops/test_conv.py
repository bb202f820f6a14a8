"""The convolution: every lowering equals XLA's, in every transformation."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from cnnjax import ops


DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def case(shape, kernel, strides=1, padding=0, groups=1, dilation=1, lhs_dilation=1):
    return {
        "shape": shape,
        "kernel": kernel,
        "window_strides": (strides, strides),
        "padding": [(padding, padding)] * 2,
        "feature_group_count": groups,
        "rhs_dilation": (dilation, dilation),
        "lhs_dilation": (lhs_dilation, lhs_dilation),
    }


# One convolution for each lowering.
CASES = {
    "pointwise": case((2, 5, 4, 4), (1, 1, 4, 6), strides=2),
    "patches": case((2, 5, 4, 4), (2, 2, 4, 6), strides=2),
    "few_channels": case((2, 9, 8, 3), (3, 3, 3, 16), strides=2, padding=1),
    "im2col": case((2, 9, 8, 4), (3, 3, 4, 64), strides=2, padding=1),
    "winograd": case((2, 12, 16, 64), (3, 3, 64, 64), padding=1),
    "dense": case((2, 11, 9, 4), (3, 3, 4, 6), padding=1, dilation=2),
    "depthwise": case((2, 7, 8, 4), (3, 3, 1, 4), strides=2, padding=1, groups=4),
    "depth_multiplier": case((2, 5, 6, 2), (3, 2, 1, 6), padding=1, groups=2),
    "grouped": case((2, 5, 4, 4), (3, 3, 2, 6), padding=1, groups=2),
    "transposed": case((2, 4, 3, 4), (4, 4, 4, 6), padding=2, lhs_dilation=2),
}
# Rows and columns must not be mistaken for each other.
for name, strides, dilation in (
    ("depthwise", (2, 1), (1, 2)),
    ("few_channels", (2, 1), (1, 2)),
    ("im2col", (2, 1), (1, 2)),
    ("dense", (1, 2), (2, 1)),
    ("pointwise", (2, 1), (1, 1)),
):
    CASES[name] |= {"window_strides": strides, "rhs_dilation": dilation}
CASES["transposed"]["lhs_dilation"] = (2, 3)


@pytest.fixture(params=CASES)
def example(request):
    """A lowering's name, ours and lax's convolution (x, k) -> y, and arguments."""
    options = dict(CASES[request.param])
    random = np.random.RandomState(0)
    x = jnp.asarray(random.randn(*options.pop("shape")), jnp.float32)
    kernel = jnp.asarray(random.randn(*options.pop("kernel")), jnp.float32)
    # Outputs of one size, so that rounding errors are not made larger by their cosine.
    kernel /= np.sqrt(np.prod(kernel.shape[:3]))
    options["dimension_numbers"] = DIMENSIONS
    ours = functools.partial(ops.conv_general_dilated, **options)
    theirs = functools.partial(lax.conv_general_dilated, **options)
    return request.param, ours, theirs, (x, kernel)


def assert_close(actual, expected, tolerance=1e-5):
    leaves = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    for a, b in leaves:
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        b = np.asarray(b, np.float32)
        scale = tolerance * np.abs(b).max(initial=1e-30)
        np.testing.assert_allclose(np.asarray(a, np.float32), b, rtol=0, atol=scale)


def derivatives(conv):
    """Returns (x, k) -> the output and its derivatives of all kinds."""

    def function(x, kernel):
        y, pullback = jax.vjp(conv, x, kernel)
        _, forward = jax.jvp(conv, (x, kernel), (jnp.cos(x), jnp.sin(kernel)))

        def penalty(x, kernel):
            gradients = jax.grad(lambda x, k: (conv(x, k) ** 2).sum(), argnums=(0, 1))(
                x, kernel
            )
            return sum((g**2).sum() for g in gradients)

        second = jax.grad(penalty, argnums=(0, 1))(x, kernel)
        return y, pullback(jnp.cos(y)), forward, second

    return jax.jit(function)


def test_equals_lax_with_all_derivatives(example):
    _, ours, theirs, arguments = example
    assert_close(derivatives(ours)(*arguments), derivatives(theirs)(*arguments))


def test_is_one_equation_that_carries_its_parameters(example):
    name, ours, _, arguments = example
    (equation,) = jax.make_jaxpr(ours)(*arguments).eqns
    assert equation.primitive.name == "cnnjax_conv_general_dilated"
    assert equation.params["lowering"] == name
    for key in ("window_strides", "feature_group_count", "rhs_dilation"):
        assert equation.params[key] == ours.keywords[key]


def test_gradients_are_one_equation_each(example):
    _, ours, _, arguments = example
    y = ours(*arguments)
    pullback = jax.vjp(ours, *arguments)[1]
    names = [e.primitive.name for e in jax.make_jaxpr(pullback)(y).eqns]
    assert sorted(n for n in names if n.startswith("cnnjax")) == [
        "cnnjax_conv_input_gradient",
        "cnnjax_conv_kernel_gradient",
    ]


def gradient(conv):
    return jax.grad(lambda x, k: (conv(x, k) ** 2).sum(), argnums=(0, 1))


def test_works_without_jit(example):
    _, ours, theirs, arguments = example
    assert_close(gradient(ours)(*arguments), gradient(theirs)(*arguments))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, None)])
def test_vmap(example, axes):
    _, ours, theirs, arguments = example
    arguments = [
        a if axis is None else jnp.stack([a, 2 * a, -a], axis)
        for a, axis in zip(arguments, axes, strict=True)
    ]

    def both(conv):
        one = lambda x, k: (conv(x, k), gradient(conv)(x, k))  # noqa: E731
        return jax.jit(jax.vmap(one, in_axes=axes))

    assert_close(both(ours)(*arguments), both(theirs)(*arguments))


def test_remat_and_scan(example):
    _, ours, theirs, (x, kernel) = example

    def looped(conv):
        def loss(x, kernel):
            def body(total, scale):
                return total + (jax.checkpoint(conv)(x, scale * kernel) ** 2).sum(), ()

            return lax.scan(body, 0.0, jnp.arange(1.0, 3))[0]

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

    assert_close(looped(ours)(x, kernel), looped(theirs)(x, kernel))


def test_devices_agree(example):
    _, ours, theirs, (x, kernel) = example
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    expected = gradient(theirs)(x, kernel)

    def loss(x, kernel):
        return (ours(x, kernel) ** 2).sum()

    def mapped(x, kernel):
        return jax.grad(loss, argnums=(0, 1))(x, kernel)

    specs = (P("batch"), P())
    sharded = jax.shard_map(mapped, mesh=mesh, in_specs=specs, out_specs=specs)
    assert_close(jax.jit(sharded)(x, kernel), expected)

    per_device = jax.pmap(mapped, in_axes=(0, None))(x[:, None], kernel)
    assert_close(per_device[0][:, 0], expected[0])
    assert_close(per_device[1].sum(0), expected[1])

    placed = jax.device_put(x, jax.sharding.NamedSharding(mesh, P("batch")))
    assert_close(jax.jit(gradient(ours))(placed, kernel), expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_accumulates_in_single(example, dtype):
    _, ours, _, arguments = example
    x, kernel = (a.astype(dtype) for a in arguments)
    exact = ours(x.astype(jnp.float32), kernel.astype(jnp.float32))
    assert_close(ours(x, kernel), exact.astype(dtype), tolerance=1e-7)
    for a, b in zip(gradient(ours)(x, kernel), (x, kernel), strict=True):
        assert a.dtype == b.dtype


def stablehlo(function, arguments, platform):
    exported = jax.export.export(jax.jit(function), platforms=[platform])(*arguments)
    return [
        line.partition("=")[2].partition(" loc(")[0].strip()
        for line in exported.mlir_module().splitlines()
        if "stablehlo." in line and "constant" not in line
    ]


def anonymous(lines):
    """Leaves out the names of values and functions, which differ."""
    return [re.sub(r"%\w+", "%", line) for line in lines]


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_get_exactly_xlas_convolution(example, platform):
    _, ours, theirs, arguments = example
    found = anonymous(stablehlo(ours, arguments, platform))
    assert found == anonymous(stablehlo(theirs, arguments, platform))
    assert len(found) == 1
    assert found[0].startswith("stablehlo.convolution")
    of_ours = anonymous(stablehlo(gradient(ours), arguments, platform))
    of_theirs = anonymous(stablehlo(gradient(theirs), arguments, platform))
    assert sorted(of_ours) == sorted(of_theirs)


def test_grouped_1x1_are_split_on_nvidias_gpus_too():
    x, kernel = jnp.ones((2, 4, 4, 6)), jnp.ones((1, 1, 2, 9))
    function = functools.partial(
        ops.conv_general_dilated,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=DIMENSIONS,
        feature_group_count=3,
    )

    def convolutions(platform):
        lines = stablehlo(gradient(function), (x, kernel), platform)
        return sum(line.startswith("stablehlo.convolution") for line in lines)

    assert convolutions("cuda") == 3 * convolutions("tpu")


def test_export_for_all_platforms(example):
    _, ours, theirs, (x, kernel) = example
    batch = jax.export.symbolic_shape("b, _, _, _", like=x.shape)
    shapes = (
        jax.ShapeDtypeStruct(batch, x.dtype),
        jax.ShapeDtypeStruct(kernel.shape, kernel.dtype),
    )
    platforms = ["cpu", "cuda", "tpu"]
    exported = jax.export.export(jax.jit(gradient(ours)), platforms=platforms)(*shapes)
    assert_close(exported.call(x, kernel), gradient(theirs)(x, kernel))


def test_forced_lowering_is_used_on_every_platform(example):
    name, ours, theirs, arguments = example
    forced = functools.partial(ours, lowering=name)
    assert_close(jax.jit(forced)(*arguments), theirs(*arguments))
    assert len(stablehlo(forced, arguments, "tpu")) > 1 or name == "dense"
    xla = functools.partial(ours, lowering="lax")
    (equation,) = jax.make_jaxpr(xla)(*arguments).eqns
    assert equation.primitive.name == "conv_general_dilated"


@pytest.mark.parametrize(
    "shape, kernel, options",
    [
        ((2, 4, 6, 7), (8, 4, 3, 3), {"dimension_numbers": ("NCHW", "OIHW", "NCHW")}),
        ((2, 4, 6, 7), (8, 4, 3, 3), {}),
        ((2, 9, 4), (3, 4, 8), {"dimension_numbers": ("NWC", "WIO", "NWC")}),
        (
            (2, 5, 4, 3, 4),
            (3, 3, 3, 4, 8),
            {"dimension_numbers": ("NDHWC", "DHWIO", "NDHWC")},
        ),
        (
            (4, 6, 7, 4),
            (3, 3, 4, 8),
            {"dimension_numbers": DIMENSIONS, "batch_group_count": 2},
        ),
    ],
)
def test_all_else_is_laxs_own(shape, kernel, options):
    x, kernel = jnp.ones(shape), jnp.ones(kernel)
    strides = (1,) * (x.ndim - 2)
    ours = functools.partial(
        ops.conv_general_dilated, window_strides=strides, padding="SAME", **options
    )
    (equation,) = jax.make_jaxpr(ours)(x, kernel).eqns
    assert equation.primitive.name == "conv_general_dilated"


def test_integers_and_mixed_results_are_laxs_own():
    x, kernel = jnp.ones((1, 4, 4, 2), jnp.int8), jnp.ones((1, 1, 2, 3), jnp.int8)
    y = ops.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        "VALID",
        dimension_numbers=DIMENSIONS,
        preferred_element_type=jnp.int32,
    )
    assert y.dtype == jnp.int32
    assert (y == 2).all()


@pytest.mark.parametrize(
    "kernel, padding",
    [
        ((3, 3), ((1, 1), (1, 1))),
        ((3, 2), ((2, 0), (0, 3))),
        ((1, 5), ((0, 0), (-1, 2))),
    ],
)
def test_gradients_of_large_kernels(kernel, padding):
    random = np.random.RandomState(0)
    x = jnp.asarray(random.randn(2, 127, 100, 32), jnp.float32)
    kernel = jnp.asarray(random.randn(*kernel, 32, 64), jnp.float32)

    def gradient(conv):
        def loss(kernel):
            y = conv(
                x,
                kernel,
                (1, 1),
                padding,
                dimension_numbers=DIMENSIONS,
            )
            return (y**2).sum()

        return jax.jit(jax.grad(loss))(kernel)

    ours, theirs = map(gradient, (ops.conv_general_dilated, lax.conv_general_dilated))
    assert_close(ours, theirs)


@pytest.mark.parametrize(
    "kernel, padding, groups, lhs_dilation",
    [
        ((2, 3, 2, 4), [(2, 0), (1, 2)], 1, (1, 1)),
        ((2, 2, 1, 4), [(1, 1), (2, 0)], 2, (1, 1)),
        ((2, 3, 1, 2), [(2, 0), (1, 1)], 2, (1, 1)),
        ((3, 3, 2, 1), [(2, 2), (3, 1)], 1, (1, 2)),
    ],
)
def test_gradient_of_single_pixels(kernel, padding, groups, lhs_dilation):
    """XLA's own (jax 0.10.2) is wrong here, as padding exceeds the kernel's reach."""
    kernel = jnp.asarray(np.random.RandomState(0).randn(*kernel), jnp.float32)

    def conv(x):
        return ops.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            padding,
            lhs_dilation=lhs_dilation,
            dimension_numbers=DIMENSIONS,
            feature_group_count=groups,
        )

    # Column i of the linear map is what it makes of the i-th unit image.
    units = jnp.eye(6).reshape(6, 3, 1, 1, 2)
    columns = jnp.stack([conv(unit) for unit in units])
    y, pullback = jax.vjp(conv, jnp.ones((3, 1, 1, 2)))
    g = jnp.cos(y)
    expected = (columns * g[None]).sum((1, 2, 3, 4)).reshape(3, 1, 1, 2)
    assert_close(pullback(g)[0], expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID", "SAME_LOWER"])
@pytest.mark.parametrize("strides", [1, 2])
def test_padding_by_name(padding, strides):
    x = jnp.asarray(np.random.RandomState(0).randn(1, 7, 6, 3), jnp.float32)
    kernel = jnp.asarray(np.random.RandomState(1).randn(4, 3, 1, 3), jnp.float32)
    arguments = x, kernel, (strides, strides), padding
    options = {"dimension_numbers": DIMENSIONS, "feature_group_count": 3}
    y = ops.conv_general_dilated(*arguments, **options)
    assert_close(y, lax.conv_general_dilated(*arguments, **options))


def test_errors_name_what_is_wrong():
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 3))
    conv = functools.partial(
        ops.conv_general_dilated,
        x,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=DIMENSIONS,
    )
    with pytest.raises(ValueError, match="lowering 'fft'; there are auto, transposed"):
        conv(lowering="fft")
    with pytest.raises(ValueError, match=r"'depthwise' does not apply.*\(1, 4, 4, 2\)"):
        conv(lowering="depthwise")
    with pytest.raises(ValueError, match="feature_group_count"):
        conv(feature_group_count=3)
