"""What a detector learns is what it detects: perfect outputs have no loss left.

Outputs of heads are made of the objects; the losses of these are 0, and detections are
the objects again.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import detection, ops
from cnnjax.detection import (
    _coding,
    _matching,
    _outputs,
    _roi_heads,
    _rpn,
    class_aware_rpn,
    fcos,
    ssd,
)


SIZES = jnp.asarray([[300, 300]])
BOXES = [[10.0, 20, 70, 90], [120, 30, 290, 220], [40, 200, 110, 290], [0, 0, 0, 0]]
LABELS = [1, 3, 2, 0]
OBJECTS = {
    "boxes_xyxy": jnp.asarray(BOXES),
    "labels": jnp.asarray(LABELS),
    "valid": jnp.asarray([True, True, True, False]),
}
CLASSES = 4
SURE = 30.0  # A logit.


def grid(strides, sizes, ratios=(0.5, 1.0, 2.0)):
    """Returns the anchors of maps."""
    sides = [[-(-300 // s)] * 2 for s in strides]
    each = zip(sides, sizes, strict=True)
    return [detection.grid_anchors((300, 300), [s], [size], ratios) for s, size in each]


def certain(matched, background):
    """Returns logits of the classes of objects; of background, if it has one."""
    labels = jnp.where(
        matched >= 0, OBJECTS["labels"][matched], 0 if background else -1
    )
    return SURE * (2 * jax.nn.one_hot(labels, CLASSES) - 1)


def perfect(anchors, thresholds, weights=(1.0, 1.0, 1.0, 1.0), background=True):
    """Returns logits and deltas that say of each anchor what it has to find."""
    boxes, valid = OBJECTS["boxes_xyxy"], OBJECTS["valid"]

    @jax.jit
    def match(anchors):
        overlaps = ops.box_iou(boxes, anchors)
        return _matching.match_anchors(overlaps, valid, *thresholds, low_quality=True)

    matched = match(anchors)
    deltas = _coding.encode_matched(boxes, matched, anchors, weights)
    return certain(matched, background), deltas


def detected(maps, decode, selection):
    """Returns the detections of maps."""
    scores, deltas, anchors = zip(*maps, strict=True)

    @jax.jit
    def detect(scores, deltas):
        maps = [*zip(scores, deltas, anchors, strict=True)]
        return _outputs.detect(maps, decode, SIZES, selection)

    return detect(scores, deltas)


def check(losses, detections):
    for name, value in losses.items():
        assert 0 <= value < 1e-4, (name, value)
    found = np.asarray(detections.valid[0])
    order = np.argsort(detections.labels[0][found])
    assert detections.labels[0][found][order].tolist() == [1, 2, 3]
    expected = np.asarray(BOXES)[[0, 2, 1]]
    boxes = np.asarray(detections.boxes_xyxy[0])[found][order]
    np.testing.assert_allclose(boxes, expected, atol=0.01)


def test_retinanet():
    model = cnnjax.create("retinanet_resnet50_fpn", num_classes=CLASSES)
    anchors = np.concatenate(
        grid((8, 16, 32), [[32, 40, 50], [64, 80, 101], [128, 161]])
    )
    logits, deltas = perfect(jnp.asarray(anchors), (0.5, 0.4), background=False)
    scores = jax.nn.sigmoid(logits)
    losses = jax.jit(model._losses)(jnp.asarray(anchors), logits, deltas, OBJECTS)
    maps = [(scores[None], deltas[None], anchors)]
    check(losses, detected(maps, _coding.decode_boxes, model.selection))


def test_ssd():
    model = cnnjax.create("ssd300_vgg16", num_classes=CLASSES)
    sides = [(n, n) for n in (38, 19, 10, 5, 3, 1)]
    anchors = jnp.asarray(detection.ssd_anchors((300, 300), sides))
    logits, deltas = perfect(anchors, (0.5, 0.5), ssd.WEIGHTS)
    losses = jax.jit(ssd._losses)(anchors, logits, deltas, OBJECTS)
    found = jax.jit(model.detect)(anchors, logits[None], deltas[None], SIZES)
    check(losses, found)


def test_class_aware_rpn():
    (anchors,) = grid((16,), [[64, 128, 256]])
    logits, deltas = perfect(jnp.asarray(anchors), (0.7, 0.3))
    arrays = (jnp.asarray(anchors), jax.random.key(0), logits, deltas, OBJECTS)
    maps = [(jax.nn.softmax(logits)[None], deltas[None], anchors)]
    detections = detected(maps, _coding.decode_boxes, detection.Selection())
    check(jax.jit(class_aware_rpn._losses)(*arrays), detections)


def test_fcos():
    points = grid(fcos.STRIDES, [[s] for s in fcos.STRIDES], [1.0])
    places = jnp.asarray(np.concatenate(points))
    matched = fcos._match(places, OBJECTS)
    found = matched >= 0
    assert found.any()
    wanted = jnp.where(found[:, None], OBJECTS["boxes_xyxy"][matched], places)
    middle = (places[:, :2] + places[:, 2:]) / 2
    sides = jnp.concatenate([middle - wanted[:, :2], wanted[:, 2:] - middle], axis=1)
    sides /= (places[:, 2] - places[:, 0])[:, None]
    logits = certain(matched, background=False)
    centers = jnp.zeros((len(places), 1))
    losses = jax.jit(fcos._losses)(places, logits, sides, centers, OBJECTS)
    assert losses.pop("centerness") > 0.1  # Which does not vanish.
    maps = [(jax.nn.sigmoid(logits)[None], sides[None], np.asarray(places))]
    selection = cnnjax.create("fcos_resnet50_fpn").selection
    check(losses, detected(maps, fcos._decode, selection))


@pytest.mark.parametrize("per_class", [True, False])
def test_two_stages(per_class):
    """Proposals find the objects; regions around them become their boxes."""
    anchors = grid((8, 16, 32), [[32], [64], [128]])
    whole = jnp.asarray(np.concatenate(anchors))
    logits, deltas = perfect(whole, (0.7, 0.3))
    objectness = -logits[:, 0]
    key = jax.random.key(0)
    losses = jax.jit(_rpn.rpn_losses)(whole, key, objectness, deltas, OBJECTS)
    assert all(value < 1e-4 for value in losses.values())
    counts = np.cumsum([len(a) for a in anchors])[:-1]
    per_map = (
        np.split(np.asarray(x)[None], counts, axis=1) for x in (objectness, deltas)
    )
    arrays = [[jnp.asarray(x) for x in part] for part in (*per_map, anchors)]
    proposed, valid = jax.jit(_rpn.propose, static_argnums=4)(*arrays, SIZES, 50)
    overlaps = ops.box_iou(OBJECTS["boxes_xyxy"][:3], proposed[0][valid[0]])
    assert (overlaps.max(1) > 0.99).all()

    batch = {name: x[None] for name, x in OBJECTS.items()}
    moved = proposed + jnp.asarray([[[3.0, -2, 4, 5]]])
    regions, matched, valid = jax.jit(_roi_heads.sample_regions, static_argnums=4)(
        key, moved, valid, batch, 32
    )
    regions, matched, valid = regions[0], matched[0], valid[0]
    assert {*np.asarray(matched).tolist()} == {0, 1, 2, detection.NO_OBJECT}
    labels = jnp.where(matched >= 0, OBJECTS["labels"][matched], 0)
    scores = SURE * jax.nn.one_hot(labels, CLASSES)
    wanted = _coding.encode_matched(
        OBJECTS["boxes_xyxy"], matched, regions, _roi_heads.WEIGHTS
    )
    of_boxes = wanted[:, None]
    if per_class:  # Others' boxes are anywhere.
        own = labels[:, None, None] == jnp.arange(CLASSES)[None, :, None]
        of_boxes = jnp.where(own, of_boxes, 7.0)
    losses = jax.jit(_roi_heads.region_losses)(
        regions, matched, valid, scores, of_boxes, OBJECTS
    )
    look = jax.jit(_roi_heads.detect_in_regions, static_argnums=5)
    arrays = (x[None] for x in (regions, valid, scores, of_boxes))
    detections = look(*arrays, SIZES, detection.Selection())
    check(losses, detections)


def test_a_place_of_fcos_finds_the_smallest_object_around_it():
    boxes = jnp.asarray([[20.0, 20, 80, 80], [30, 30, 70, 70], [45, 45, 55, 55]])
    valid = jnp.asarray([True, True, False])
    (points,) = grid((8,), [[8]], [1.0])
    objects = {"boxes_xyxy": boxes, "valid": valid}
    matched = np.asarray(fcos._match(jnp.asarray(points), objects))
    assert {*matched.tolist()} == {1, detection.NO_OBJECT}


def test_proposals_of_one_map_do_not_suppress_those_of_another():
    box = jnp.asarray([[10.0, 10, 40, 40]])
    logits, deltas = jnp.ones((1, 1)), jnp.zeros((1, 1, 4))
    proposed, valid = _rpn.propose([logits] * 2, [deltas] * 2, [box] * 2, SIZES, 5)
    assert valid.tolist() == [[True, True]]
    np.testing.assert_array_equal(proposed[0, 0], proposed[0, 1])
