"""Average precision: cases by hand, a slow reference, and pycocotools' own."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from batches import Detections, collect, random_batch, results

from cnnjax import metrics


def test_by_hand():
    """Of three objects two are found: hit, miss, hit."""
    found = results(
        (([0, 5], [0.9, 0.8], [1, 1]), ([0, 2], [1, 1], [0, 0])),
        (([1], [0.7], [1]), ([1], [1], [0])),
    )
    area = metrics.voc_average_precision(found, 3)
    np.testing.assert_allclose(area.curves[1].scores, [0.9, 0.8, 0.7])
    np.testing.assert_allclose(area.curves[1].recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(area.curves[1].precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(area.per_class, [np.nan, 1 / 3 + 2 / 9, np.nan])
    assert area.mean == area.compute() == area.per_class[1]
    assert area.curves[0].recall.size == area.curves[2].scores.size == 0
    # Recalls of 0 to 0.3 at precision 1, 0.4 to 0.6 at 2 / 3.
    eleven = metrics.voc_average_precision(found, 3, eleven_points=True)
    np.testing.assert_allclose(eleven.per_class[1], (4 + 3 * 2 / 3) / 11)


@pytest.mark.parametrize(
    "found, there, expected",
    [
        # The second detection of an object is a miss, whatever comes first in the row.
        (([0, 0], [0.9, 0.8], [1, 1]), ([0], [1], [0]), ([1, 1], [1, 1 / 2])),
        (([0, 0, 1], [0.1, 0.8, 0.5], [1] * 3), ([0, 1], [1] * 2, [0] * 2), (
            [1 / 2, 1, 1], [1, 1, 2 / 3])),
        # Another class is a miss, and leaves the object.
        (([0, 0], [0.9, 0.8], [2, 1]), ([0], [1], [0]), ([1], [1])),
        # Those of ignored objects are neither, as many as they are.
        (([0, 0, 1], [0.9, 0.8, 0.7], [1] * 3), ([0, 1], [1] * 2, [1, 0]), ([1], [1])),
        (([0, 2], [0.9, 0.8], [1] * 2), ([0], [1], [1]), ([], [])),
        # Nothing is found.
        (([], [], []), ([0], [1], [0]), ([], [])),
        (([4], [0.5], [1]), ([0], [1], [0]), ([0], [0])),
    ],
)  # fmt: skip
@pytest.mark.parametrize("eleven_points", [False, True])
def test_what_is_a_hit(found, there, expected, eleven_points):
    computed = metrics.voc_average_precision(
        results((found, there)), 3, eleven_points=eleven_points
    )
    np.testing.assert_allclose(computed.curves[1].recall, expected[0])
    np.testing.assert_allclose(computed.curves[1].precision, expected[1])
    if there[2] == [1]:
        assert np.isnan(computed.per_class[1]) and np.isnan(computed.mean)
    elif not sum(expected[0]):
        assert computed.per_class[1] == 0


def test_nothing_at_all():
    empty = metrics.DetectionResults()
    assert np.isnan(metrics.voc_average_precision(empty, 2).mean)
    assert np.isnan(metrics.coco_average_precision(empty, 2).ap)
    nothing = results((([], [], []), ([], [], [])))
    assert len(nothing) == 1 and np.isnan(
        metrics.voc_average_precision(nothing, 2).mean
    )


def test_the_threshold_is_the_least_overlap():
    """A box moved by a third of its side overlaps by a half exactly."""
    found = metrics.DetectionResults()
    boxes = np.array([[[3.0, 0, 12, 9]]])
    ones = np.ones((1, 1), int)
    found.add(
        Detections(boxes, 0.5 * ones, ones, ones.astype(bool)),
        {"boxes_xyxy": boxes - [3, 0, 3, 0], "labels": ones, "valid": ones == 1},
    )
    assert metrics.voc_average_precision(found, 2, 0.5).mean == 1
    assert metrics.voc_average_precision(found, 2, 0.501).mean == 0


def test_equal_scores_come_as_they_were_added():
    hit_first = results(
        (([0], [0.5], [1]), ([0], [1], [0])), (([0], [0.5], [1]), ([], [], []))
    )
    miss_first = metrics.DetectionResults(hit_first.images[::-1])
    assert metrics.voc_average_precision(hit_first, 2).mean == 1
    assert metrics.voc_average_precision(miss_first, 2).mean == 0.5
    one_image = results((([4, 0], [0.5, 0.5], [1, 1]), ([0], [1], [0])))
    assert metrics.voc_average_precision(one_image, 2).mean == 0.5


def slow_reference(batches, num_classes, iou_threshold, eleven_points):
    """The development kit's loops, detection by detection."""

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        return shared / (sum(areas) - shared)

    averages = []
    for label in range(1, num_classes):
        there, found = [], []
        for detections, objects in batches:
            for i in range(len(objects["valid"])):
                mine = []
                for j in range(objects["valid"].shape[1]):
                    exists = objects["valid"][i, j] or objects["ignored"][i, j]
                    if exists and objects["labels"][i, j] == label:
                        box = objects["boxes_xyxy"][i, j]
                        mine.append([box, bool(objects["ignored"][i, j]), False])
                for j in range(detections.valid.shape[1]):
                    if detections.valid[i, j] and detections.labels[i, j] == label:
                        box, score = (
                            detections.boxes_xyxy[i, j],
                            detections.scores[i, j],
                        )
                        found.append((score, len(there), box))
                there.append(mine)
        number = sum(not ignored for mine in there for _, ignored, _ in mine)
        true = false = 0
        points = []
        for _, image, box in sorted(found, key=lambda one: -one[0]):
            best = max(there[image], key=lambda o: overlap(box, o[0]), default=None)
            if best is None or overlap(box, best[0]) < iou_threshold or best[2]:
                false += 1
            elif best[1]:
                continue
            else:
                true += 1
                best[2] = True
            points.append((true / number, true / (true + false)))
        if eleven_points:
            recalls = [r / 10 for r in range(11)]
            best = [max([p for q, p in points if q >= r], default=0) for r in recalls]
            averages.append(sum(best) / 11)
        else:
            steps = zip([0, *(r for r, _ in points)], points, strict=False)
            averages.append(
                sum(
                    (r - before) * max(p for q, p in points if q >= r)
                    for before, (r, _) in steps
                )
            )
    return averages


@pytest.mark.parametrize("eleven_points", [False, True])
@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.75])
def test_against_a_slow_reference(iou_threshold, eleven_points):
    rng = np.random.default_rng(0)
    batches = [random_batch(rng) for _ in range(3)]
    computed = metrics.voc_average_precision(
        collect(*batches), 4, iou_threshold, eleven_points
    )
    expected = slow_reference(batches, 4, iou_threshold, eleven_points)
    np.testing.assert_allclose(computed.per_class[1:], expected, rtol=1e-12)
    assert 0.05 < computed.mean < 0.9


def split(batch, *parts):
    """Returns batches of so many of a batch's images."""
    detections, label = batch
    start, pieces = 0, []
    for number in parts:
        part = slice(start, start + number)
        fields = {
            field.name: getattr(detections, field.name)
            for field in dataclasses.fields(Detections)
        }
        cut = {k: v if v is None else v[part] for k, v in fields.items()}
        pieces.append((Detections(**cut), {k: v[part] for k, v in label.items()}))
        start += number
    return pieces


def test_padded_batches_are_exact():
    """In any split, whatever is in rows and images that do not count."""
    batch = random_batch(np.random.default_rng(2), n=7)
    whole = metrics.voc_average_precision(collect(batch), 4)
    first, second = (collect(one) for one in split(batch, 3, 4))
    together = metrics.voc_average_precision(first + second, 4)
    np.testing.assert_array_equal(together.per_class, whole.per_class)
    assert (len(first), len(second), len(first + second)) == (3, 4, 7)
    detections, label = batch
    padded = metrics.DetectionResults()
    more = [
        np.concatenate([x, x[:2]])
        for x in detections.__dict__.values()
        if x is not None
    ]
    padding = np.arange(9) >= 7
    more[0][~more[3]] = np.nan
    padded.add(
        Detections(*more),
        {k: np.concatenate([v, v[:2]]) for k, v in label.items()},
        jnp.asarray(~padding),
    )
    assert len(padded) == 7
    computed = metrics.voc_average_precision(padded, 4)
    np.testing.assert_array_equal(computed.per_class, whole.per_class)


def test_boxes_are_taken_to_the_photos():
    """An object of 20 pixels, small for the network, is large in the photograph."""
    ones = np.ones((1, 1), int)
    box = np.array([[[10.0, 20, 30, 40]]])
    label = {
        "boxes_xyxy": box,
        "labels": ones,
        "valid": ones == 1,
        "sizes": np.array([[60, 80]]),
        "photo_sizes": np.array([[300, 800]]),
    }
    found = collect((Detections(box, ones * 0.5, ones, ones == 1), label))
    for boxes in (found.images[0].detections, found.images[0].objects):
        np.testing.assert_allclose(boxes.boxes_xyxy, [[100, 100, 300, 200]])
        np.testing.assert_allclose(boxes.areas, [20_000])
    coco = metrics.coco_average_precision(found, 2)
    assert coco.ap_large == pytest.approx(1) and np.isnan(coco.ap_small)
    told = label | {"photo_areas": np.array([[900.0]])}
    coco = metrics.coco_average_precision(
        collect((Detections(box, ones * 0.5, ones, ones == 1), told)), 2
    )
    assert coco.ap_small == pytest.approx(1) and np.isnan(coco.ap_large)


@pytest.mark.parametrize(
    "changes, label, message",
    [
        ({"scores": np.zeros((6, 11))}, {}, "detections of 6 images have shapes that"),
        ({"boxes_xyxy": np.zeros((6, 12, 5))}, {}, "detections of 6 images have sh"),
        ({"scores": np.full((6, 12), np.nan)}, {}, "valid detections have scores that"),
        ({"boxes_xyxy": np.full((6, 12, 4), np.inf)}, {}, "have boxes_xyxy that are n"),
        ({}, {"labels": np.ones((6, 8), int)}, "objects of 6 images have shapes that"),
        ({}, {"ignored": np.ones((6, 8), bool)}, "objects of 6 images have shapes"),
        ({}, {"boxes_xyxy": np.full((6, 7, 4), np.nan)}, "valid objects have boxes"),
    ],
)
def test_what_does_not_fit(changes, label, message):
    detections, objects = random_batch(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        collect((detections.replace(**changes), objects | label))


@pytest.mark.parametrize(
    "metric", [metrics.voc_average_precision, metrics.coco_average_precision]
)
@pytest.mark.parametrize("found, there", [(3, 1), (0, 1), (1, 3), (1, 0), (-1, 1)])
def test_labels_must_be_classes(metric, found, there):
    wrong = results((([0], [0.5], [found]), ([0], [there], [0])))
    what = "detections" if found != 1 else "objects"
    label = found if found != 1 else there
    with pytest.raises(
        ValueError, match=f"{what} have label {label}; there are 1 to 2"
    ):
        metric(wrong, 3)


def test_masks_of_images_must_fit():
    detections, objects = random_batch(np.random.default_rng(0))
    with pytest.raises(ValueError, match="objects of 5 images"):
        collect((detections, objects, np.ones(5, bool)))
    (fewer, _), _ = split((detections, objects), 5, 1)
    with pytest.raises(ValueError, match="detections of 6 images"):
        collect((fewer, objects))
