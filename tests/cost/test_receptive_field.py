"""What endpoints see, by geometry, and by which pixels have a gradient."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import CLASSIFIERS, TINY
from flax import nnx
from jax import lax
from test_zoo import noise

import cnnjax
from cnnjax import cost, ops


# What counts as unbounded, but sees a part only: windows of attention, and where the
# offsets of a deformable convolution happen to point.
LIMITED = {"swin-padded", "resnet-deformable"}


def support(gradient):
    """Returns the first and the last row, and column, with a gradient."""
    found = []
    for axis in (1, 0):
        (places,) = np.nonzero(gradient.sum(axis))
        found.append((int(places[0]), int(places[-1])))
    return found


def expected_support(field, position, side):
    """Returns the same of a field, along each axis."""
    if not field.bounded:
        return [(0, side - 1)] * 2
    middles = [
        o + s * position for o, s in zip(field.offset, field.stride, strict=True)
    ]
    reaches = [(size - 1) / 2 for size in field.size]
    return [(m - r, m + r) for m, r in zip(middles, reaches, strict=True)]


def fields_of(model):
    return cost.receptive_field(model, (1, model.image_size, model.image_size, 3))


# Others' logits are upsampled: positions differ in what they see.
NAMES = [name for name in TINY if name.partition("-")[0] in CLASSIFIERS]
# One of each kind: pooling without padding, residual, shifted, depthwise, attention.
# All are in the slow tier.
QUICK = {"alexnet-small", "resnet_cifar-pad", "shiftresnet-blocks", "deit-tiny"}
QUICK |= {"mobilenet_v1-width"}


def test_quick_ones_exist():
    assert QUICK < {*NAMES}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in NAMES
    ],
)
def test_geometry_equals_gradients_of_every_family(name):
    model = TINY[name].clone(conv_general_dilated=lax.conv_general_dilated)
    fields, side = {}, 0
    while side < model.image_size:  # On a small map a shift is no border.
        side = model.image_size
        fields = fields_of(model)
        # Large enough for the field in the middle to touch no border.
        needed = max(f.size[0] + 2 * f.stride[0] for f in fields.values() if f.bounded)
        model = model.clone(image_size=max(side, 16 * math.ceil(needed / 16)))
    # Max pooling looks at one pixel of a window, so that it takes several images.
    count = 2 if name.startswith("resnet-") else 6
    images = np.random.RandomState(0).randn(count, side, side, 3).astype(np.float32)
    variables = noise(model)

    @jax.jit
    def gradients(images):
        def maps(x):
            out = model.apply(variables, x)[1]
            return {name: y for name, y in out.items() if y.ndim == 4}

        out, pull = jax.vjp(maps, images)
        found = {}
        for name, y in out.items():
            middle = (slice(None), y.shape[1] // 2, y.shape[2] // 2)
            only = jax.tree.map(jnp.zeros_like, out)
            weights = jax.random.normal(jax.random.key(1), y[middle].shape)
            only[name] = only[name].at[middle].set(weights)
            found[name] = abs(pull(only)[0]).sum((0, 3))
        return found, {name: y.shape[1] for name, y in out.items()}

    found, sides = gradients(images)
    for endpoint, gradient in found.items():
        field = fields[endpoint]
        expected = expected_support(field, int(sides[endpoint]) // 2, side)
        if field.bounded or name not in LIMITED:
            assert support(np.asarray(gradient)) == expected, endpoint


def conv(strides=1, padding=0, lhs=1, rhs=1, kernel=3):
    """One-channel convolution along both axes, as lax has it."""

    def call(x):
        return lax.conv_general_dilated(
            x,
            jnp.ones((kernel, kernel, 1, 1)),
            (strides, strides),
            [(padding, padding)] * 2,
            (lhs, lhs),
            (rhs, rhs),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    return call


STACKS = {
    "valid": ([conv(), conv(2), conv(kernel=2)], 7, 2),
    "dilated": ([conv(rhs=3), conv(2, rhs=2)], 11, 2),
    "transposed": ([conv(2), conv(lhs=2, padding=2), conv(padding=1)], 7, 1),
    "transposed by 3, strided by 2": ([conv(lhs=3), conv(2)], 2, 2 / 3),
    "pooled": ([lambda x: ops.max_pool2d(x, 3, 2, 1), conv(padding=1)], 7, 2),
    "averaged": ([lambda x: ops.avg_pool2d(x, 2), conv(padding=1)], 6, 2),
    "sliced": ([lambda x: x[:, 1::2, 1::2], conv(padding=1)], 5, 2),
    "reversed twice": ([lambda x: x[:, ::-1, ::-1], conv(2)] * 2, 7, 4),
    "rolled": ([lambda x: x + jnp.roll(x, (2, -3), (1, 2)), conv()], 5, 1),
    "transposed axes": ([lambda x: x.swapaxes(1, 3), lambda x: x.swapaxes(3, 1)], 1, 1),
}


@pytest.mark.parametrize(("stack", "size", "stride"), STACKS.values(), ids=STACKS)
def test_geometry_equals_gradients(stack, size, stride):
    def call(x):
        for layer in stack:
            x = layer(x)
        return x

    images = jnp.asarray(np.random.RandomState(0).randn(8, 32, 32, 1), jnp.float32)
    (field,) = cost.receptive_field(call, images.shape).values()
    assert field.size[0] == size and field.stride[0] == stride
    middle = jax.eval_shape(call, images).shape[1] // 2
    sizes = [
        last - first + 1
        for row in range(middle - 1, middle + 2)  # Positions of several phases.
        for first, last in support(
            cost.effective_receptive_field(call, images, (row, row))
        )
    ]
    assert max(sizes) == max(field.size)


UNBOUNDED = {
    "halves put together": lambda x: jnp.concatenate([x[:, :17], x[:, 17:] * 2], 1),
    "a mean beside pixels": lambda x: jnp.concatenate(
        [x[:, :16], jnp.broadcast_to(x.mean((1, 2), keepdims=True), (8, 16, 32, 1))], 1
    ),
    "rolled by half": lambda x: jnp.roll(x, 16, 1),
    "wrapped far": lambda x: jnp.pad(x, [(0, 0), (20, 20), (0, 0), (0, 0)], "wrap"),
    "sorted": lambda x: jnp.sort(x, 1),
    "summed up": lambda x: jnp.cumsum(x, 1),
    "no rounds": lambda x: lax.scan(lambda c, _: (c, c), x, length=0)[1],
}


@pytest.mark.parametrize("call", UNBOUNDED.values(), ids=UNBOUNDED)
def test_what_cannot_be_followed_is_unbounded(call):
    (field,) = cost.receptive_field(call, (8, 32, 32, 1)).values()
    assert field.size[0] == math.inf


def test_offset_where_the_first_position_sees_nothing():
    field = cost.receptive_field(conv(lhs=2, padding=1, kernel=1), (1, 8, 8, 1))[""]
    assert field.size == (1, 1) and field.offset == (-0.5, -0.5)


def test_endpoints_have_their_names_in_training_too():
    fields = cost.receptive_field(TINY["resnet_cifar-pad"], (1, 16, 16, 3), train=True)
    assert "stage1" in fields


def test_names_of_outputs():
    def call(x, scale):
        return {"a": x * scale, "b": [x.mean((1, 2)), jnp.ones(3)]}

    fields = cost.receptive_field(call, (1, 8, 8, 3), ())
    assert fields.keys() == {"a", "b/0"}  # What sees nothing has no field.
    assert fields["a"] == cost.ReceptiveField(*[(1.0, 1.0)] * 2, *[(0.0, 0.0)] * 2)
    assert fields["b/0"].size == (math.inf, math.inf)
    assert fields["b/0"].stride == (None, None) and not fields["b/0"].bounded


def test_offset_and_padding():
    fields = cost.receptive_field(cnnjax.create("alexnet"), (1, 224, 224, 3))
    # Araujo et al., 2019, table 1: AlexNet's last pooling has 195 pixels, stride 32.
    assert fields["stage2"] == cost.ReceptiveField(
        (195.0, 195.0), (32.0, 32.0), (31.0, 31.0), (66.0, 66.0)
    )


def test_squeeze_excite_and_attention_see_everything():
    fields = cost.receptive_field(cnnjax.create("mobilenet_v3_small"), (1, 64, 64, 3))
    assert fields["stem"].size == (3, 3)
    assert fields["stage2"].size == (math.inf, math.inf)
    assert fields["stage2"].stride == (8, 8)
    assert fields["stage2"].offset == (None, None)


def test_loops_over_blocks_see_the_same():
    unrolled, scanned = (
        fields_of(cnnjax.create("resnet20_cifar", scan=scan)) for scan in (False, True)
    )
    assert unrolled == scanned
    assert unrolled["stage3"].size == (81, 81)


def test_other_dimensions():
    def line(x):
        return lax.conv_general_dilated(
            x, jnp.ones((5, 3, 4)), (2,), "VALID", None, None, ("NWC", "WIO", "NWC")
        )

    assert cost.receptive_field(line, (1, 20, 3))[""].size == (5,)
    video = nn.Conv(2, (3, 5, 7))
    assert cost.receptive_field(video, (1, 9, 9, 9, 3))[""].size == (3, 5, 7)


def test_nnx():
    model = nnx.Conv(3, 4, (3, 5), strides=2, rngs=nnx.Rngs(0))
    field = cost.receptive_field(model, (1, 16, 16, 3))[""]
    assert field.size == (3, 5) and field.stride == (2, 2)


@pytest.mark.parametrize("arguments", [(), ((3, 4),)])
def test_needs_images(arguments):
    with pytest.raises(ValueError, match="first argument must be images"):
        cost.receptive_field(lambda *x: x, *arguments)
