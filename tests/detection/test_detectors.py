"""What holds for every detector: one program for any objects, gradients everywhere."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_zoo
from families import DETECTORS

from cnnjax import errors, train
from cnnjax.detection import FCOS, MaskRCNN


OBJECTS = 6  # The most that an image of these tests has.
# Others take up to a minute to compile; the slow tier has them.
QUICK = {"retinanet-resnet"}
every_detector = pytest.mark.parametrize("model", DETECTORS.values(), ids=DETECTORS)


def objects_of(rng, counts, side, masks=False):
    """Returns so many random objects for each image, and padding."""
    n = len(counts)
    corner = rng.uniform(0, side / 2, (n, OBJECTS, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(8, side / 2, corner.shape)], 2)
    valid = np.arange(OBJECTS)[None] < np.array(counts)[:, None]
    objects = {
        "boxes_xyxy": np.float32(boxes * valid[..., None]),
        "labels": np.int32(rng.integers(1, 4, (n, OBJECTS)) * valid),
        "valid": valid,
    }
    if masks:
        objects["masks"] = rng.random((n, OBJECTS, side, side)) > 0.5
    return objects


def batch_of(rng, counts, model):
    side = model.image_size
    image = rng.normal(size=(len(counts), side, side, 3)).astype(np.float32)
    label = objects_of(rng, counts, side, masks=isinstance(model, MaskRCNN))
    return {"image": image, "label": label}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in DETECTORS
    ],
)
def trained(request):
    """A tiny detector, its compiled step and inference, and its first state."""
    # It compiles faster; that ours has the same gradients is tested with it.
    lax = jax.lax.conv_general_dilated
    model = DETECTORS[request.param].clone(conv_general_dilated=lax)
    tx = optax.sgd(0.01)
    variables = test_zoo.noise(model)
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    state = train.TrainState(0, params, batch_stats, tx.init(params))
    step = jax.jit(functools.partial(train.train_step, model, tx))
    return model, step, jax.jit(model.apply), jax.tree.map(jnp.asarray, state)


def test_compiles_once_for_any_objects(trained):
    model, step, apply, state = trained
    rng = np.random.default_rng(0)
    for i in range(20):
        counts = [(0, 0), (OBJECTS, OBJECTS), (0, OBJECTS)][i] if i < 3 else (i % 4, 1)
        batch = batch_of(rng, counts, model)
        _, metrics = step(state, batch, jax.random.key(i))
        assert all(np.isfinite(value) for value in metrics.values()), (i, metrics)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        detections, _ = apply(variables, batch["image"])
        chex.assert_tree_all_finite(detections)
    assert step._cache_size() == apply._cache_size() == 1


def test_gradient_reaches_every_parameter(trained):
    """By what an update changes: of kernels, and of all else."""
    model, step, _, state = trained
    batch = batch_of(np.random.default_rng(1), (OBJECTS, 2), model)
    # Of every size, so that each map has something to find.
    sides = model.image_size * np.float32([0.1, 0.2, 0.35, 0.55, 0.75, 0.95])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], 1) + np.float32(2)
    batch["label"]["boxes_xyxy"][0] = boxes
    updated, metrics = step(state, batch, jax.random.key(0))
    for (path, old), new in zip(
        jax.tree.leaves_with_path(state.params),
        jax.tree.leaves(updated.params),
        strict=True,
    ):
        assert np.any(old != new), jax.tree_util.keystr(path)
    losses = {k: v for k, v in metrics.items() if k not in ("loss", "grad_norm")}
    np.testing.assert_allclose(metrics["loss"], sum(losses.values()), rtol=1e-5)
    assert all(value > 0 for value in losses.values())


def test_detections_are_in_the_image(trained):
    model, _, apply, state = trained
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    images = test_zoo.images(model)
    sizes = jnp.asarray([[40, 50], [64, 30]])
    detections, _ = apply(variables, images, sizes=sizes)
    count = model.selection.max_detections
    chex.assert_shape(detections.boxes_xyxy, (2, count, 4))
    boxes, valid = np.asarray(detections.boxes_xyxy), np.asarray(detections.valid)
    assert valid.any() and boxes.min() >= 0
    for found, (rows, columns) in zip(boxes, sizes, strict=True):
        assert found[:, 3].max() <= rows and found[:, 2].max() <= columns
    scores = np.asarray(detections.scores)
    assert (np.diff(scores) <= 0).all() and (scores[~valid] == 0).all()
    labels = np.asarray(detections.labels)
    assert (labels < model.num_classes).all() and (labels[~valid] == 0).all()


@every_detector
def test_shapes(model):
    (detections, out), variables = test_zoo.shapes(model)
    n, k = 2, model.selection.max_detections
    chex.assert_shape(detections.boxes_xyxy, (n, k, 4))
    chex.assert_shape([detections.scores, detections.labels, detections.valid], (n, k))
    assert [name for name in out if name.startswith("feature_")]
    measured = [x for name, x in out.items() if "deltas_" in name or "bbox" in name]
    anchors = [x for name, x in out.items() if name.startswith("anchors_")]
    chex.assert_shape(anchors, (None, 4))
    assert isinstance(model, FCOS) or sum(x.size for x in measured) == sum(
        n * x.size for x in anchors
    )
    (detections, _), variables = test_zoo.shapes(model.clone(dtype=jnp.bfloat16))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
    assert detections.scores.dtype == detections.boxes_xyxy.dtype == jnp.float32


@every_detector
def test_takes_its_convolution_as_a_function(model):
    test_zoo.test_takes_its_convolution_as_a_function(model)


@every_detector
def test_needs_classes(model):
    for number in (None, 1):
        with pytest.raises(errors.UserError, match=f"without classes .* not {number}"):
            test_zoo.shapes(model.clone(num_classes=number))
