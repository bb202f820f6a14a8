"""What weights alone decide is computed once, if a product reads it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chex import assert_trees_all_close

from cnnjax import ops
from cnnjax.inference._once import compute_once


RANDOM = np.random.default_rng(0)


def array(*shape):
    return jnp.asarray(RANDOM.normal(size=shape), jnp.float32)


def both(run, arrays, x):
    """Returns the new function's program and arrays, if it computes the same."""
    call, kept = compute_once(run, arrays, jax.ShapeDtypeStruct(x.shape, x.dtype))
    assert_trees_all_close(jax.jit(call)(kept, x), run(arrays, x), atol=1e-5, rtol=0)
    return str(jax.make_jaxpr(call)(kept, x)), kept


def test_winograds_values_of_kernels():
    arrays = {"kernel": array(3, 3, 32, 40) / 17, "bias": array(1, 1, 1, 40)}

    def run(arrays, x):
        return ops.conv2d(x, arrays["kernel"], padding=1) + arrays["bias"]

    program, kept = both(run, arrays, array(2, 8, 8, 32))
    # A row of points each.
    assert {name: a.shape for name, a in kept.items()} == {"bias": (1, 1, 1, 40)} | {
        f"computed{i}": (6, 32, 40) for i in range(6)
    }
    assert program.count("dot_general") == 6
    assert "cnnjax_conv_general_dilated" not in program


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_what_products_read_of_any_dtype(dtype):
    arrays = {"a": array(3, 5), "b": array(1, 5)}

    def run(arrays, x):
        kernel = jnp.tanh(arrays["a"]).astype(dtype) / 2
        return (x.astype(dtype) @ kernel + arrays["b"].astype(dtype)) * 2

    program, kept = both(run, arrays, array(4, 3))
    assert {name: a.dtype for name, a in kept.items()} == {
        "b": jnp.float32,
        "computed0": dtype,
    }
    assert "tanh" not in program


def test_what_others_read_stays():
    # Stored, it would be as large as the images.
    def run(arrays, x):
        scale = jnp.broadcast_to(jnp.exp(arrays["scale"]), x.shape)
        return {"product": x @ arrays["kernel"], "other": x * scale}

    arrays = {"unread": array(2), "scale": array(1, 4), "kernel": array(4, 4)}
    program, kept = both(run, arrays, array(7, 4))
    assert {*kept} == {"scale", "kernel"}
    assert "exp" in program


def test_outputs_that_images_do_not_decide():
    def run(arrays, x):
        return arrays["a"], arrays["a"] + 1, jnp.float32(3), x

    both(run, {"a": array(2)}, array(1, 2))
