"""DenseNets: the paper's sizes, memory, images too small."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.models.densenet import CifarDenseNet, DenseNet


basic = functools.partial(
    CifarDenseNet, bottleneck=None, compression=1.0, stem_features=16
)


def size(tree):
    return sum(a.size for a in jax.tree.leaves(tree) if hasattr(a, "size"))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("model", "growth_rate", "depth", "millions"),
    [(basic, 12, 12, 1.0), (CifarDenseNet, 12, 16, 0.8)],
)
def test_has_the_papers_size(model, growth_rate, depth, millions):
    """Table 2: 40 layers, and 100 with bottleneck and compression."""
    model = model(depths=(depth,) * 3, growth_rate=growth_rate)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    assert round(size(variables["params"]) / 1e6, 1) == millions


def shallow(depth, **options):
    """One stage; XLA's own convolution, which compiles fastest."""
    return CifarDenseNet(
        depths=(depth,),
        growth_rate=8,
        conv_general_dilated=jax.lax.conv_general_dilated,
        **options,
    )


def test_remat_computes_the_same():
    """Also what it drops by chance, when it computes that again."""
    model = shallow(2, dropout_rate=0.2)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    # Kernels have either sign; variances, among others, are positive.
    variables = jax.tree.map(
        lambda a: np.float32(
            rng.uniform(0.5, 1.0, a.shape)
            if a.ndim < 3
            else rng.normal(size=a.shape) / np.sqrt(np.prod(a.shape[-4:-1]))
        ),
        shapes,
    )

    def gradient(model):
        def loss(params):
            (logits, _), updates = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(1)},
            )
            return jnp.square(logits).sum(), updates

        return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

    def check(a, b):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max())

    jax.tree.map(check, gradient(model), gradient(model.clone(remat=True)))


def test_remat_keeps_memory_linear_in_depth():
    """Each layer keeps as much as the one before, instead of its longer input."""
    images = jnp.zeros((1, 32, 32, 3))

    def kept(depth, remat):
        model = shallow(depth, remat=remat)
        variables = jax.eval_shape(model.init, jax.random.key(0), images)

        def residuals(variables):
            def run(images):
                (logits, _), _ = model.apply(
                    variables, images, train=True, mutable=["batch_stats"]
                )
                return logits

            return jax.vjp(run, images)[1]

        return size(jax.eval_shape(residuals, variables)) - size(variables["params"])

    def steps(remat):
        return np.diff([kept(depth, remat) for depth in (1, 2, 3)])

    first, second = steps(remat=True)
    assert second < 1.01 * first
    first, second = steps(remat=False)
    assert second > 1.1 * first


def test_an_image_too_small_for_the_pooling_raises():
    model = DenseNet(depths=(1, 1, 1, 1), growth_rate=4)
    with pytest.raises(ValueError, match="does not fit"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 3)))
    jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 29, 29, 3)))
