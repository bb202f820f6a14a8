"""Recipes of papers: complete, possible, and what they say they are."""

import dataclasses
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import errors, recipes, train


NAMES = list(recipes.PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_each_traces(name):
    """With a small network in place of the paper's: the numbers are in question."""
    recipe = dataclasses.replace(
        recipes.PUBLISHED[name].recipe, model="nin_cifar", drop_path_rate=None
    )
    recipe.check_recipe()
    size = recipe.image_size
    model = recipe.create_model(num_classes=10)
    tx = recipe.create_optimizer(recipe.create_schedule(100))
    image = jax.ShapeDtypeStruct((4, size, size, 3), jnp.float32)
    label = jax.ShapeDtypeStruct((4,), jnp.int32)

    def run(key, image, label):
        state = train.init_state(model, tx, key, image, **recipe.init_options())
        step = recipe.create_step(model, tx, num_classes=10)
        return state, step(state, {"image": image, "label": label}, key)

    before, (after, metrics) = jax.eval_shape(run, jax.random.key(0), image, label)
    assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)
    assert set(metrics) == {"loss", "accuracy", "grad_norm"}


@pytest.mark.parametrize("name", NAMES)
def test_its_images_and_its_network(name):
    recipe = recipes.PUBLISHED[name].recipe
    recipe.create_model(num_classes=10)
    image = np.arange(300 * 260 * 3, dtype=np.uint8).reshape(300, 260, 3)
    on_bytes, on_floats = recipe.augmentation()
    if recipe.crop == "resized":
        image = on_bytes(image, np.random.default_rng(0))
        assert image.shape == (recipe.image_size, recipe.image_size, 3)
        assert image.dtype == np.uint8
    assert not any(type(c).__name__ == "RandomAffine" for c in on_floats.changes)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_where_it_comes_from(name):
    assert re.search(r"https://arxiv.org/abs/|^As \w+", recipes.PUBLISHED[name].source)


def test_all_are_in_the_docs():
    documented = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    for name, (source, _, recipe) in recipes.PUBLISHED.items():
        cells = [f"`{name}`", recipe.model, recipe.epochs, f"{recipe.batch_size:,}"]
        cells += [recipe.optimizer, f"{recipe.learning_rate:g}", recipe.schedule]
        assert f"| {' | '.join(map(str, cells))} | {source} |" in documented


def test_the_rates_of_papers():
    """At the steps that the papers name."""

    def rate(name, epoch):
        schedule = recipes.PUBLISHED[name].recipe.create_schedule(1000)
        return float(schedule(1000 * epoch))

    for epoch, expected in [(0, 0.1), (59, 0.1), (61, 0.02), (121, 4e-3), (161, 8e-4)]:
        assert rate("wide_resnet_cifar", epoch) == pytest.approx(expected)
    for epoch, expected in [(29, 0.1), (31, 0.01), (61, 1e-3), (81, 1e-4)]:
        assert rate("imagenet_90_epochs", epoch) == pytest.approx(expected)
    assert rate("mobilenet_v2", 10) == pytest.approx(0.045 * 0.98**10)
    decay = rate("efficientnet_b0", 245) / rate("efficientnet_b0", 5)
    assert decay == pytest.approx(0.97 ** (240 / 2.4))
    assert rate("convnext_tiny", 20) == pytest.approx(4e-3)


def test_he_2015_takes_64000_steps():
    recipe = recipes.PUBLISHED["he2015_cifar"].recipe
    steps = recipe.epochs * (45_000 // recipe.batch_size)
    assert steps == pytest.approx(64_000, rel=0.003)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"momentum": 1.0}, "--momentum is 1.0; it must be in [0, 1)"),
        ({"eval_crop": 0.0}, "--eval-crop is 0.0; it must be in (0, 1]"),
        ({"image_size": 0}, "--image-size is 0; it must be positive"),
        ({"weight_decay": -1.0}, "--weight-decay is -1.0; it must not be negative"),
    ],
)
def test_numbers_that_cannot_be(options, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        recipes.Recipe(**options).check_recipe()


def test_float16_scales_its_loss_and_averages_are_kept():
    assert recipes.Recipe(dtype="float16").init_options()["loss_scale"]
    assert recipes.Recipe(ema_decay=0.9).init_options()["ema"]
    assert not any(recipes.Recipe().init_options().values())
