"""Detections and losses are torchvision's, live, of random outputs of heads.

pip install -e ".[test,torch]" && python -m pytest -m torch
"""

import golden_files
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import detection
from cnnjax.detection import _outputs, _roi_heads, _rpn, fcos, ssd


torch = pytest.importorskip("torch")
references = pytest.importorskip("torchvision").models.detection
pytestmark = pytest.mark.torch

SIZE = (96, 120)  # Of the images; the last columns are padding.
REAL = (96, 101)
SIZES = jnp.asarray([REAL])
MAPS = [(12, 15), (6, 8), (3, 4), (2, 2), (1, 1)]
CLASSES = 6


def tensor(x):
    return torch.from_numpy(np.array(x))


def reference(name):
    build = getattr(references, name)
    return build(weights=None, weights_backbone=None, num_classes=CLASSES).eval()


def same(found, theirs):
    """Both have the same boxes; of equal scores in any order."""
    valid = np.asarray(found.valid[0])
    assert valid.sum() == len(theirs["scores"]) > 10
    scores = np.asarray(found.scores[0])[valid]
    np.testing.assert_allclose(scores, theirs["scores"], rtol=1e-4)
    labels = np.asarray(found.labels[0])[valid]
    np.testing.assert_array_equal(labels, theirs["labels"])
    boxes = np.asarray(found.boxes_xyxy[0])[valid]
    np.testing.assert_allclose(boxes, theirs["boxes"], atol=2e-3)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random(rng, *shape, scale=1.0, shift=0.0):
    return np.float32(rng.normal(shift, scale, shape))


def without_background(logits):
    """Returns logits of which that of class 0 is low: torchvision may detect it."""
    return [np.where(np.arange(CLASSES) == 0, np.float32(-20), x) for x in logits]


def test_heads_of_fcos():
    """Of the others there are golden files."""
    model = references.fcos_resnet50_fpn(weights=None, weights_backbone=None).eval()
    state = {
        key: golden_files.fill(key, tuple(value.shape), 1.5)
        for key, value in model.state_dict().items()
    }
    model.load_state_dict({key: torch.from_numpy(x) for key, x in state.items()})
    image = np.random.RandomState(0).randn(1, 3, 120, 136).astype(np.float32)
    with torch.no_grad():
        heads = model.head([*model.backbone(tensor(image)).values()])
    variables = cnnjax.weights.from_torch("fcos_resnet50_fpn", state)
    apply = jax.jit(cnnjax.create("fcos_resnet50_fpn").apply)
    _, out = apply(variables, image.transpose(0, 2, 3, 1))
    for name, wanted in heads.items():
        wanted = wanted.numpy()
        assert np.abs(wanted - out[f"head_{name}"]).max() / wanted.std() < 1e-4
    back = cnnjax.weights.to_torch("fcos_resnet50_fpn", variables)
    assert back.keys() == state.keys()


def some_objects(rng, count=4):
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 45, (count, 2))], 1)
    labels = rng.integers(1, CLASSES, count)
    theirs = [{"boxes": tensor(np.float32(boxes)), "labels": tensor(labels)}]
    ours = {"boxes_xyxy": np.float32(boxes), "labels": np.int32(labels)}
    ours = {
        key: np.pad(x, [(0, 2)] + [(0, 0)] * (x.ndim - 1)) for key, x in ours.items()
    }
    ours["valid"] = np.arange(count + 2) < count
    return jax.tree.map(jnp.asarray, ours), theirs


def retinanet_anchors():
    sizes = [[int(8 * 2**k * 2 ** (i / 3)) for i in range(3)] for k in range(5)]
    return [
        detection.grid_anchors(SIZE, [side], [size])
        for side, size in zip(MAPS, sizes, strict=True)
    ]


def test_retinanet(rng):
    anchors = retinanet_anchors()
    logits = [random(rng, 1, len(a), CLASSES, scale=2, shift=-3) for a in anchors]
    logits = without_background(logits)
    deltas = [random(rng, 1, len(a), 4, scale=0.5) for a in anchors]
    (theirs,) = reference("retinanet_resnet50_fpn").postprocess_detections(
        {
            "cls_logits": [*map(tensor, logits)],
            "bbox_regression": [*map(tensor, deltas)],
        },
        [[*map(tensor, anchors)]],
        [REAL],
    )
    model = cnnjax.create("retinanet_resnet50_fpn", num_classes=CLASSES)
    scores = [jax.nn.sigmoid(x) for x in logits]
    maps = [*zip(scores, map(jnp.asarray, deltas), anchors, strict=True)]
    same(_outputs.detect(maps, detection.decode_boxes, SIZES, model.selection), theirs)


def test_proposals(rng):
    anchors = retinanet_anchors()
    logits = [random(rng, 1, len(a), scale=3) for a in anchors]
    deltas = [random(rng, 1, len(a), 4, scale=0.5) for a in anchors]
    model = reference("fasterrcnn_resnet50_fpn")
    boxes = [
        model.rpn.box_coder.decode_single(*map(tensor, pair))
        for pair in zip((d[0] for d in deltas), anchors, strict=True)
    ]
    wanted, _ = model.rpn.filter_proposals(
        torch.cat(boxes)[None],
        torch.cat([tensor(x[0]) for x in logits]),
        [REAL],
        [len(a) for a in anchors],
    )
    found, valid = _rpn.propose(
        *([jnp.asarray(x) for x in part] for part in (logits, deltas, anchors)),
        SIZES,
        1000,
    )
    assert valid.sum() == len(wanted[0]) > 100
    np.testing.assert_allclose(found[0][valid[0]], wanted[0], atol=2e-3)


def test_faster_rcnn(rng):
    corner = rng.uniform(0, 60, (50, 2))
    regions = np.float32(np.concatenate([corner, corner + 30], 1))
    scores = random(rng, 50, CLASSES, scale=2)
    deltas = random(rng, 50, 4 * CLASSES)
    heads = reference("fasterrcnn_resnet50_fpn").roi_heads
    theirs = heads.postprocess_detections(
        tensor(scores), tensor(deltas), [tensor(regions)], [REAL]
    )
    found = _roi_heads.detect_in_regions(
        jnp.asarray(regions)[None],
        jnp.ones((1, 50), bool),
        jnp.asarray(scores)[None],
        jnp.asarray(deltas).reshape(1, 50, CLASSES, 4),
        SIZES,
        cnnjax.create("fasterrcnn_resnet50_fpn").selection,
    )
    names = ("boxes", "scores", "labels")
    same(found, {name: x[0] for name, x in zip(names, theirs, strict=True)})


def test_ssd(rng):
    maps = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
    anchors = detection.ssd_anchors((300, 300), maps)
    logits = random(rng, 1, len(anchors), CLASSES, scale=2)
    deltas = random(rng, 1, len(anchors), 4)
    model = reference("ssd300_vgg16")
    outputs = {"cls_logits": tensor(logits), "bbox_regression": tensor(deltas)}
    sizes = (300, 250)
    (theirs,) = model.postprocess_detections(outputs, [tensor(anchors)], [sizes])
    ours = cnnjax.create("ssd300_vgg16", num_classes=CLASSES)
    arrays = [jnp.asarray(x) for x in (anchors, logits, deltas)]
    same(ours.detect(*arrays, jnp.asarray([sizes])), theirs)

    # So many that some are best overlapped by the same anchor, or by several alike.
    objects, targets = some_objects(rng, count=60)
    boxes = targets[0]["boxes"]
    overlaps = references.ssd.box_ops.box_iou(boxes, tensor(anchors))
    wanted = model.compute_loss(
        targets, outputs, [tensor(anchors)], [model.proposal_matcher(overlaps)]
    )
    losses = ssd._losses(arrays[0], arrays[1][0], arrays[2][0], objects)
    assert losses["classification"] == pytest.approx(
        float(wanted["classification"]), rel=1e-4
    )
    assert losses["boxes"] == pytest.approx(float(wanted["bbox_regression"]), rel=1e-4)


def test_fcos(rng):
    points = [
        detection.grid_anchors(SIZE, [side], [[stride]], [1.0])
        for side, stride in zip(MAPS, fcos.STRIDES, strict=True)
    ]
    logits = without_background([random(rng, 1, len(p), CLASSES) for p in points])
    sides = [abs(random(rng, 1, len(p), 4, scale=2)) for p in points]
    centers = [random(rng, 1, len(p), 1) for p in points]
    model = reference("fcos_resnet50_fpn")
    names = ("cls_logits", "bbox_regression", "bbox_ctrness")
    heads = dict(zip(names, (logits, sides, centers), strict=True))
    (theirs,) = model.postprocess_detections(
        {name: [*map(tensor, x)] for name, x in heads.items()},
        [[*map(tensor, points)]],
        [REAL],
    )
    maps = [
        (jnp.sqrt(jax.nn.sigmoid(x) * jax.nn.sigmoid(c)), jnp.asarray(s), p)
        for x, s, c, p in zip(logits, sides, centers, points, strict=True)
    ]
    selection = cnnjax.create("fcos_resnet50_fpn").selection
    same(_outputs.detect(maps, fcos._decode, SIZES, selection), theirs)

    objects, targets = some_objects(rng)
    whole = {name: np.concatenate(x, 1) for name, x in heads.items()}
    wanted = model.compute_loss(
        targets,
        {name: tensor(x) for name, x in whole.items()},
        [tensor(np.concatenate(points))],
        [len(p) for p in points],
    )
    arrays = (jnp.asarray(x[0]) for x in whole.values())
    losses = fcos._losses(jnp.asarray(np.concatenate(points)), *arrays, objects)
    ours = ("classification", "boxes", "centerness")
    for mine, other in zip(ours, wanted.values(), strict=True):
        assert losses[mine] == pytest.approx(float(other), rel=1e-4)
