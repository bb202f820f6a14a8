"""Anchors are the reference's; coding can be undone; each anchor has its object."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_files import arrays

import cnnjax
from cnnjax import detection, ops
from cnnjax.detection import (
    _coding,
    _fpn,
    _matching,
    _roi_heads,
    _rpn,
    class_aware_rpn,
)


def halved(rows, columns, strides):
    return [(-(-rows // s), -(-columns // s)) for s in strides]


OCTAVES = [
    [size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))]
    for size in (32, 64, 128, 256, 512)
]
ANCHORS = {
    "retinanet_resnet50_fpn-128x160": lambda: detection.grid_anchors(
        (128, 160), halved(128, 160, (8, 16, 32, 64, 128)), OCTAVES
    ),
    "fasterrcnn_resnet50_fpn-128x160": lambda: detection.grid_anchors(
        (128, 160),
        halved(128, 160, (4, 8, 16, 32, 64)),
        [[32], [64], [128], [256], [512]],
    ),
    "ssd300_vgg16-300x300": lambda: detection.ssd_anchors(
        (300, 300), [(n, n) for n in (38, 19, 10, 5, 3, 1)]
    ),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_anchors_are_the_references(name):
    golden = arrays(f"detection/torchvision-{name}")
    anchors = ANCHORS[name]()
    assert anchors.dtype == np.float32 and len(anchors) == golden["n_anchors"]
    np.testing.assert_allclose(anchors[::53], golden["anchors_every_53rd"], atol=1e-4)


def test_each_map_has_its_sizes():
    with pytest.raises(ValueError, match="shorter"):
        detection.grid_anchors((8, 8), [(4, 4), (2, 2)], [[3]])


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_coding_can_be_undone(weights):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (2, 20, 2))
    pairs = np.concatenate([corner, corner + rng.uniform(3, 40, (2, 20, 2))], 2)
    boxes, anchors = jnp.asarray(pairs, jnp.float32)
    deltas = detection.encode_boxes(boxes, anchors, weights)
    # A pixel to the right, of an anchor 10 pixels wide, is a tenth.
    one = jnp.asarray([[0.0, 0, 10, 10]])
    moved = detection.encode_boxes(one + jnp.asarray([[1.0, 0, 1, 0]]), one, weights)
    np.testing.assert_allclose(moved, [[weights[0] / 10, 0, 0, 0]], atol=1e-5)
    back = detection.decode_boxes(deltas, anchors, weights)
    np.testing.assert_allclose(back, boxes, rtol=1e-4, atol=1e-4)


def test_sides_stay_finite():
    deltas = jnp.asarray([[0.0, 0, 1e4, 1e4]])
    boxes = detection.decode_boxes(deltas, jnp.asarray([[0.0, 0, 16, 16]]))
    assert ops.box_area(boxes)[0] == pytest.approx(1000**2, rel=1e-4)


def test_anchors_have_their_objects():
    overlaps = jnp.asarray(
        [
            [0.8, 0.45, 0.1, 0.2, 0.8],
            [0.1, 0.30, 0.3, 0.3, 0.9],
            [0.9, 0.90, 0.9, 0.9, 0.9],  # Padding.
        ]
    )
    valid = jnp.asarray([True, True, False])
    match = jax.jit(detection.match_anchors, static_argnums=(2, 3, 4))
    none, between = detection.NO_OBJECT, detection.BETWEEN
    found = match(overlaps, valid, 0.5, 0.4)
    assert found.tolist() == [0, between, none, none, 1]
    # Object 1 overlaps no anchor by 0.5 but the last; without it, two by 0.3.
    found = match(overlaps[:, :4], valid, 0.5, 0.4, True)
    assert found.tolist() == [0, 0, 1, 1]
    nobody = match(overlaps, jnp.zeros(3, bool), 0.5, 0.4, True)
    assert set(nobody.tolist()) == {none}


def test_each_object_claims_an_anchor():
    overlaps = jnp.asarray(
        [
            [0.2, 0.3, 0.3, 0.0],  # The first of equal ones.
            [0.4, 0.3, 0.0, 0.0],
            [0.1, 0.2, 0.0, 0.0],  # The last that would have it.
            [0.0, 0.0, 0.0, 0.0],
            [0.9, 0.9, 0.9, 0.9],  # Padding.
        ]
    )
    valid = jnp.asarray([True] * 4 + [False])
    claim = jax.jit(_matching.claim_best)
    before = jnp.asarray([-1, -1, 0, 1])
    assert claim(before, overlaps, valid).tolist() == [1, 2, 0, 1]
    assert claim(before, overlaps, ~(valid | True)).tolist() == before.tolist()


def test_padding_is_never_among_the_regions():
    objects = {
        "boxes_xyxy": jnp.asarray([[[0.0, 0, 8, 8], [jnp.nan] * 4, [jnp.inf] * 4]]),
        "labels": jnp.asarray([[1, 0, 0]]),
        "valid": jnp.asarray([[True, False, False]]),
    }
    proposals = jnp.asarray([[[0.0, 0, 8, 9], [jnp.nan] * 4]])
    there = jnp.asarray([[True, False]])
    key = jax.random.key(0)
    regions, matched, valid = jax.jit(_roi_heads.sample_regions, static_argnums=4)(
        key, proposals, there, objects, 5
    )
    assert matched[0, :1].tolist() == [0] and valid.sum() == 1
    assert jnp.isfinite(regions).all()


def test_proposals_of_half_precision_are_ranked_by_logits():
    """Of these, bfloat16's sigmoid makes three times 1."""
    boxes = np.float32([[0, 0, 8, 8], [20, 0, 30, 8], [40, 0, 50, 8]])
    sizes = jnp.asarray([[64, 64]])
    kept, valid = _rpn.propose(
        [jnp.asarray([[7.0, 9, 8]])],
        [jnp.zeros((1, 3, 4))],
        [jnp.asarray(boxes)],
        sizes,
        3,
    )
    np.testing.assert_allclose(kept[0], boxes[[1, 2, 0]], atol=1e-4)
    assert valid.all()
    assert nn.sigmoid(jnp.bfloat16(7.0)) == 1


def test_ssd_is_for_large_images():
    model = cnnjax.create("ssd300_vgg16")
    with pytest.raises(ValueError, match="of 64 x 64 pixels nothing is left for"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


@pytest.mark.parametrize("objects", [0, 3, 40])
def test_samples_have_at_most_their_share_of_objects(objects):
    matched = jnp.asarray([1] * objects + [detection.BETWEEN] * 20 + [-1] * 40)
    chosen, valid = _matching.sample(jax.random.key(0), matched, 32, 0.25)
    assert len({*np.asarray(chosen).tolist()}) == 32 and valid.all()
    found = matched[chosen]
    # Those with objects are the first.
    np.testing.assert_array_equal(found >= 0, np.arange(32) < min(objects, 8))
    assert not (found == detection.BETWEEN).any()
    others, _ = _matching.sample(jax.random.key(1), matched, 32, 0.25)
    assert {*np.asarray(others).tolist()} != {*np.asarray(chosen).tolist()}


def test_what_is_too_few_is_not_filled_up():
    matched = jnp.asarray([0, detection.BETWEEN, -1, detection.BETWEEN])
    chosen, valid = _matching.sample(jax.random.key(0), matched, 9, 0.5)
    assert chosen[valid].tolist() == [0, 2] and valid.tolist() == [1, 1, 0, 0]


def test_hardest_negatives_are_three_to_each_object():
    losses = jnp.asarray([9.0, 1, 2, 3, 4, 5, 6])
    matched = jnp.asarray([0, -1, -1, detection.BETWEEN, -1, -1, -1])
    hard = _matching.hard_negatives(losses, matched, 3)
    assert np.flatnonzero(hard).tolist() == [4, 5, 6]
    none = _matching.hard_negatives(losses, jnp.full(7, -1), 3)
    assert not none.any()


def test_anchors_without_an_object_need_no_area():
    anchors = jnp.asarray([[0.0, 0, 0, 0], [0, 0, 10, 10]])
    boxes = jnp.asarray([[1.0, 0, 11, 10]])
    matched = jnp.asarray([detection.NO_OBJECT, 0])
    deltas = _coding.encode_matched(boxes, matched, anchors)
    np.testing.assert_allclose(deltas, [[0, 0, 0, 0], [0.1, 0, 0, 0]], atol=1e-6)


def test_an_rpn_of_two_classes_takes_any_object():
    anchors = jnp.asarray(detection.grid_anchors((64, 64), [(4, 4)], [(16, 32)]))
    losses = functools.partial(class_aware_rpn._losses, anchors, jax.random.key(0))

    @jax.jit
    def loss(label):
        logits = jnp.linspace(-1, 1, 192).reshape(96, 2)
        objects = {
            "boxes_xyxy": jnp.asarray([[4.0, 4, 30, 30]]),
            "labels": label[None],
            "valid": jnp.ones(1, bool),
        }
        return losses(logits, jnp.zeros((96, 4)), objects)["classification"]

    assert loss(jnp.asarray(1)) == loss(jnp.asarray(77)) > 0


def test_the_nearest_row_is_that_of_the_reference():
    x = jnp.arange(3.0).reshape(1, 3, 1, 1)
    resized = _fpn.resize_nearest(x, (5, 2))
    chex.assert_shape(resized, (1, 5, 2, 1))
    # floor(i * 3 / 5), as PyTorch's `interpolate`.
    assert resized[0, :, 0, 0].tolist() == [0, 0, 1, 1, 2]
