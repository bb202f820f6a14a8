"""DSN: its companion classifiers."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.models.dsn import DSN


MODEL = DSN(dims=((4, 4, 4), (4, 4, 4), (4, 4)), num_classes=3, image_size=8)
IMAGE = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)


def endpoints(model):
    return jax.eval_shape(model.init_with_output, jax.random.key(0), IMAGE)


def test_companions_have_logits_among_the_endpoints():
    (_, out), variables = endpoints(MODEL)
    for stage, side in ((1, 8), (2, 4), (3, 2)):
        assert out[f"aux_logits{stage}"].shape == (2, 3)
        kernel = variables["params"][f"aux_head{stage}"]["kernel"]
        assert kernel.shape == (4 * side**2, 3)


def test_they_leave_with_the_head_and_by_an_option():
    for options in ({"num_classes": None}, {"companions": False}):
        (_, out), variables = endpoints(MODEL.clone(**options))
        assert not [name for name in out if name.startswith("aux")]
        assert not [name for name in variables["params"] if name.startswith("aux")]


def test_they_supervise_what_is_before_them():
    """The loss of the second reaches its stage's first layer and the first stage."""
    _, shapes = endpoints(MODEL)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape)), shapes)
    images = jnp.asarray(rng.normal(size=IMAGE.shape), jnp.float32)

    @jax.jit
    @jax.grad
    def gradient(params):
        _, out = MODEL.apply(params, images)
        return jnp.square(out["aux_logits2"]).sum()

    reached = {
        "/".join(entry.key for entry in path[1:-1])
        for path, g in jax.tree.leaves_with_path(gradient(params))
        if np.any(g != 0)
    }
    assert reached == {
        *(f"stage1_block1/Conv_{i}" for i in range(3)),
        "stage2_block1/Conv_0",
        "aux_head2",
    }
