"""Frames meet where they should, their order counts, and images' weights carry over."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import cnnjax
from cnnjax import video


# Compiling them takes minutes; `test_segment_video.py` trains one by default.
pytestmark = pytest.mark.slow


FRAMES = 4
TINY = cnnjax.create("resnet20_cifar", depths=(1, 1), num_classes=3)
FUSIONS = {
    "early": video.EarlyFusion(TINY, frames=FRAMES),
    "late": video.LateFusion(TINY, frames=FRAMES),
    "slow": video.SlowFusion(TINY, windows=((2, 2), (2, 2))),
}
IMAGE = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
CLIP = jax.random.normal(jax.random.key(1), (2, FRAMES, 8, 8, 3))
STILL = jnp.broadcast_to(IMAGE[:, None], CLIP.shape)


def noise(model, x):
    """Random variables, scaled to keep the signal, none of them 0: nothing compiles."""
    rng = np.random.default_rng(0)

    def value(path, a):
        if path[-1].key == "kernel":
            fan_in = np.prod(a.shape[:-1])
            return np.float32(rng.normal(size=a.shape) * np.sqrt(2 / fan_in))
        return np.float32(rng.uniform(0.5, 1.0, a.shape))

    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map_with_path(value, shapes)


@functools.cache
def of_images():
    return noise(TINY, IMAGE)


@functools.cache
def initialised(name):
    return noise(FUSIONS[name], CLIP)


@functools.cache
def compiled(name):
    return jax.jit(FUSIONS[name].apply)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_still_clip_has_the_logits_of_the_image(name):
    variables = video.inflate(FUSIONS[name], of_images(), CLIP.shape)
    logits, _ = compiled(name)(variables, STILL)
    expected, _ = jax.jit(TINY.apply)(of_images(), IMAGE)
    assert jnp.std(expected) > 0.01
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_first_kernel_alone_is_inflated():
    inflated = video.inflate(FUSIONS["early"], of_images(), CLIP.shape)
    images = of_images()
    expected = {collection: {"model": tree} for collection, tree in images.items()}
    kernel = images["params"]["stem"]["kernel"]
    stem = {"kernel": jnp.concatenate([kernel / FRAMES] * FRAMES, axis=2)}
    expected["params"] = {"model": images["params"] | {"stem": stem}}
    jax.tree.map(np.testing.assert_allclose, inflated, expected)


@pytest.mark.parametrize("name", FUSIONS)
def test_the_order_of_frames_counts(name):
    logits, _ = compiled(name)(initialised(name), CLIP)
    backwards, _ = compiled(name)(initialised(name), CLIP[:, ::-1])
    assert jnp.min(jnp.max(jnp.abs(logits - backwards), axis=1)) > 1e-4


def test_early_fusion_is_the_model_on_the_frames_as_channels():
    channels = CLIP.transpose(0, 2, 3, 1, 4).reshape(2, 8, 8, FRAMES * 3)
    variables = initialised("early")
    logits, endpoints = compiled("early")(variables, CLIP)
    inner = {collection: tree["model"] for collection, tree in variables.items()}
    expected, of_model = jax.jit(TINY.apply)(inner, channels)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert endpoints.keys() == of_model.keys()


def test_late_fusion_sees_every_frame_on_its_own():
    variables = initialised("late")
    logits, endpoints = compiled("late")(variables, CLIP)
    inner = {c: tree["tower"] for c, tree in variables.items()}
    tower = jax.jit(TINY.clone(num_classes=None).apply)
    features = [tower(inner, CLIP[:, t])[0] for t in range(FRAMES)]
    features = np.concatenate(features, axis=-1)
    np.testing.assert_allclose(endpoints["pre_logits"], features, rtol=1e-4, atol=1e-5)
    head = variables["params"]["head"]
    expected = features @ head["kernel"] + np.asarray(head["bias"])[None]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert endpoints["stage2"].shape == (2, FRAMES, 4, 4, 32)
    headless = video.LateFusion(TINY.clone(num_classes=None), FRAMES)
    without = {**variables, "params": {"tower": variables["params"]["tower"]}}
    found, endpoints = jax.jit(headless.apply)(without, CLIP)
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-5)
    assert "logits" not in endpoints


def test_slow_fusion_sees_ever_more_frames():
    """Which frames an output depends on, by its derivative: all are after 10 frames."""
    fusion = video.SlowFusion(TINY)
    assert fusion.frames == 10
    clip = jax.random.normal(jax.random.key(4), (2, 10, 8, 8, 3))
    shapes = jax.eval_shape(fusion.init, jax.random.key(0), clip)["params"]
    assert shapes["model"]["stem"]["kernel"].shape == (3, 3, 4 * 3, 16)
    assert shapes["fusion1"]["kernel"].shape == (2 * 16, 16)
    assert shapes["fusion2"]["kernel"].shape == (2 * 16, 16)
    variables = noise(fusion, clip)

    @jax.jit
    def slopes(clip):
        def last_window(clip):
            _, out = fusion.apply(variables, clip)
            parts = (out["stem"], out["stage1"], out["stage2"])
            values = [jnp.sum(jnp.sin(x[0, -1])) for x in parts[:2]]
            return jnp.stack([*values, jnp.sum(jnp.sin(parts[2][0]))])

        return jnp.abs(jax.jacrev(last_window)(clip)).sum(axis=(3, 4, 5))

    seen = np.asarray(slopes(clip)) > 0
    assert not seen[:, 1].any()  # The other clip.
    frames = np.arange(10)
    np.testing.assert_array_equal(seen[0, 0], frames >= 6)
    np.testing.assert_array_equal(seen[1, 0], frames >= 4)
    assert seen[2, 0].all()


def test_slow_fusion_has_an_axis_of_time_until_one_window_is_left():
    _, endpoints = compiled("slow")(initialised("slow"), CLIP)
    assert endpoints["stem"].shape == (2, 2, 8, 8, 16)
    assert endpoints["stage1"].shape == (2, 8, 8, 16)
    assert endpoints["logits"].shape == (2, 3)


@pytest.mark.parametrize("name", FUSIONS)
def test_training_updates_statistics_and_reaches_every_parameter(name):
    fusion, variables = FUSIONS[name], initialised(name)

    @jax.jit
    def step(params):
        (logits, _), updated = fusion.apply(
            {**variables, "params": params}, CLIP, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(logits**2), updated["batch_stats"]

    grads, statistics = jax.jit(jax.grad(step, has_aux=True))(variables["params"])
    assert all(jnp.any(g != 0) for g in jax.tree.leaves(grads))
    for new, old in zip(
        jax.tree.leaves(statistics),
        jax.tree.leaves(variables["batch_stats"]),
        strict=True,
    ):
        assert jnp.any(new != old)


@pytest.mark.parametrize("option", ["scan", "remat"])
def test_slow_fusion_of_loops_and_remat(option):
    model = TINY.clone(depths=(1, 3), **{option: True})
    fusion = video.SlowFusion(model, windows=((2, 2), (2, 2)))
    jax.jit(fusion.init).lower(jax.random.key(0), CLIP)
    variables = noise(fusion, CLIP)
    plain = fusion.clone(model=model.clone(**{option: False}))
    same = variables
    if option == "scan":
        same = {
            collection: tree | cnnjax.weights.unroll({"model": tree["model"]})
            for collection, tree in variables.items()
        }
    np.testing.assert_allclose(
        jax.jit(fusion.apply)(variables, CLIP)[0],
        jax.jit(plain.apply)(same, CLIP)[0],
        rtol=1e-4,
        atol=1e-5,
    )


def test_shuffled_frames_are_the_same_frames():
    marks = jnp.arange(20.0).reshape(2, 10, 1, 1, 1)
    clip = jnp.broadcast_to(marks, (2, 10, 2, 3, 1))
    shuffled = np.asarray(video.shuffle_frames(clip, jax.random.key(0)))
    assert np.all(shuffled == shuffled[:, :, :1, :1])
    order = shuffled[:, :, 0, 0, 0]
    np.testing.assert_array_equal(np.sort(order), marks[:, :, 0, 0, 0])
    assert np.any(order[0] != order[1] - 10)  # Of each clip its own.
    again = np.asarray(video.shuffle_frames(clip, jax.random.key(1)))
    assert np.any(again != shuffled)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("shape", [(2, 5, 8, 8, 3), (2, 8, 8, 3)])
def test_clips_of_a_wrong_length(name, shape):
    with pytest.raises(ValueError, match=r"with t = 4 frames, not of shape \(2, [58],"):
        jax.eval_shape(FUSIONS[name].init, jax.random.key(0), jnp.zeros(shape))


def test_variables_of_another_head():
    variables = jax.eval_shape(TINY.clone(num_classes=5).init, jax.random.key(0), IMAGE)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variables)
    with pytest.raises(ValueError, match=r"head/kernel has shape \(32, 5\)"):
        video.inflate(FUSIONS["early"], variables, CLIP.shape)
    del variables["params"]["stem"]
    with pytest.raises(ValueError, match="missing params/model/stem/kernel"):
        video.inflate(FUSIONS["early"], variables, CLIP.shape)


SHAPE = (1, 4, 32, 32, 3)


def traced(model, windows=((2, 2), (2, 2))):
    fusion = video.SlowFusion(model, windows)
    return jax.eval_shape(fusion.init, jax.random.key(0), jnp.zeros(SHAPE))["params"]


def test_models_without_the_stages_for_slow_fusion():
    densenet = cnnjax.create("densenet40_k12_cifar", depths=(1, 1, 1))
    with pytest.raises(ValueError, match="stages of DenseNet do not begin with maps"):
        traced(densenet)
    deit = cnnjax.create("deit_small", image_size=32, depth=1)
    with pytest.raises(ValueError, match="stages of DeiT do not begin with maps"):
        traced(deit)
    windows = ((1, 1),) * 3 + ((2, 1), (3, 1))
    with pytest.raises(
        ValueError, match="CifarResNet has too few stages for 5 windows"
    ):
        traced(TINY, windows)
    with pytest.raises(ValueError, match="windows must be one or two integers"):
        traced(TINY, ((2, 0), (2, 2)))


def test_slow_fusion_passes_by_stages_that_begin_with_the_images():
    params = traced(cnnjax.create("nin_cifar"))
    assert params["fusion1"]["kernel"].shape == (2 * 96, 96)  # Before stage 2.


def first_classifiers():
    """Returns every family's first variant, but for those of pixels and of objects."""
    modules = map(importlib.import_module, cnnjax.registry.FAMILIES)
    models = {m.__name__: next(iter(m.VARIANTS.values()))() for m in modules}
    return {
        path.rpartition(".")[2]: model
        for path, model in models.items()
        if isinstance(model, cnnjax.models.Classifier)
    }


@pytest.mark.parametrize(("family", "model"), first_classifiers().items())
def test_the_first_of_every_family(family, model):
    clip = jnp.zeros((1, 10, model.image_size, model.image_size, 3))
    fusions = [video.EarlyFusion(model, 10), video.LateFusion(model, 10)]
    if family not in ("deit", "densenet"):  # As SlowFusion says.
        fusions.append(video.SlowFusion(model))
    for fusion in fusions:
        (logits, _), variables = jax.eval_shape(
            fusion.init_with_output, jax.random.key(0), clip
        )
        assert logits.shape == (1, model.num_classes)
    if family not in ("deit", "densenet"):
        assert {"fusion1", "fusion2"} < variables["params"].keys()


def clips_that_brighten_or_dim(key, n):
    """Returns clips whose grey level rises (1) or falls (0), and which of both."""
    keys = jax.random.split(key, 3)
    labels = jax.random.bernoulli(keys[0], shape=(n,)).astype(jnp.int32)
    levels = jnp.sort(jax.random.normal(keys[1], (n, FRAMES)), axis=1)
    levels = jnp.where(labels[:, None] == 1, levels, levels[:, ::-1])
    noise = jax.random.normal(keys[2], (n, FRAMES, 8, 8, 3))
    return levels[:, :, None, None, None] + 0.1 * noise, labels


@pytest.mark.parametrize("name", FUSIONS)
def test_shuffled_frames_cannot_be_told_apart(name):
    """Trained to tell brightening from dimming, which the order of frames shows."""
    fusion = FUSIONS[name]
    tx = optax.adam(3e-3)
    variables = jax.jit(fusion.init)(jax.random.key(0), CLIP)

    @jax.jit
    def step(variables, opt_state, key):
        clip, labels = clips_that_brighten_or_dim(key, 64)

        def loss(params):
            (logits, _), updated = fusion.apply(
                {**variables, "params": params},
                clip,
                train=True,
                mutable=["batch_stats"],
            )
            return jnp.mean(cnnjax.losses.cross_entropy(logits, labels)), updated

        grads, updated = jax.grad(loss, has_aux=True)(variables["params"])
        updates, opt_state = tx.update(grads, opt_state)
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, **updated}, opt_state

    opt_state = tx.init(variables["params"])
    for key in jax.random.split(jax.random.key(1), 100):
        variables, opt_state = step(variables, opt_state, key)
    clip, labels = clips_that_brighten_or_dim(jax.random.key(2), 500)

    def accuracy(clip):
        logits, _ = compiled(name)(variables, clip)
        return jnp.mean(jnp.argmax(logits, axis=-1) == labels)

    shuffled = video.shuffle_frames(clip, jax.random.key(3))
    print(name, accuracy(clip), accuracy(shuffled))
    assert accuracy(clip) > 0.95
    assert abs(accuracy(shuffled) - 0.5) < 0.1
