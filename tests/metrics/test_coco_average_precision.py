"""COCO's average precision: cases by hand, VOC's as a bound, and masks."""

import numpy as np
import pytest
from batches import Detections, collect, random_batch, results

from cnnjax import errors, metrics


def test_against_pycocotools():
    """Where objects are apart, a detection matches one at most, so both match alike.

    COCO's figure is a mean over 101 recalls of a precision that falls from at most 1 to
    at least 0, of which the area is the integral: they differ by 1 / 100 at most. Of
    crowds it compares with the detection's area, so nothing is ignored here.
    """
    rng = np.random.default_rng(1)
    batches = [random_batch(rng, n=20, apart=True) for _ in range(2)]
    for _, label in batches:
        label["ignored"][:] = False
    found = collect(*batches)
    coco = metrics.coco_average_precision(found, 4)
    voc = [metrics.voc_average_precision(found, 4, t / 100) for t in range(50, 100, 5)]
    assert abs(coco.ap50 - voc[0].mean) <= 0.01
    assert abs(coco.ap75 - voc[5].mean) <= 0.01
    assert abs(coco.ap - np.mean([one.mean for one in voc])) <= 0.01
    per_class = np.mean([one.per_class for one in voc], axis=0)
    assert np.isnan(coco.per_class[0])
    np.testing.assert_allclose(coco.per_class[1:], per_class[1:], atol=0.01)
    assert coco.compute() == coco.ap and 0.1 < coco.ap < coco.ap50 < 0.9
    recall = np.mean([[c.recall[-1] for c in one.curves[1:]] for one in voc])
    np.testing.assert_allclose(coco.ar100, recall, rtol=1e-9)
    assert coco.ar1 < coco.ar10 <= coco.ar100
    for size in ("small", "medium", "large"):
        assert 0 < getattr(coco, f"ap_{size}") < 1
        assert 0 < getattr(coco, f"ar_{size}") < 1


def test_coco_by_hand(capsys):
    """A hit, then a miss; of two classes one has no objects; crowds do not count."""
    found = results(
        (([0, 5], [0.9, 0.8], [1, 1]), ([0, 5], [1, 1], [0, 1])),
        (([1, 7], [0.7, 0.6], [1, 2]), ([2], [1], [0])),
    )
    coco = metrics.coco_average_precision(found, 3)
    # Recalls of 0 to 0.5, which are 51 of 101, have a precision of 1.
    np.testing.assert_allclose([coco.ap, coco.ap50, coco.ap75], 51 / 101)
    np.testing.assert_allclose([coco.ar1, coco.ar100, coco.ar_small], 0.5)
    assert np.isnan(coco.ap_medium) and np.isnan(coco.ar_large)
    np.testing.assert_allclose(coco.per_class, [np.nan, 51 / 101, np.nan])
    assert capsys.readouterr().out == ""


def masked(**options):
    """Two boxes that fit, one mask that fits and one that covers a third of another."""
    masks = np.zeros((1, 2, 16, 16), bool)
    masks[0, 0, :4, :12] = masks[0, 1, 6:12, :6] = True
    found = masks.copy()
    found[0, 1, 8:] = False
    found[:, :, :, 12:] = True  # Where the image has ended.
    ones = np.ones((1, 2), int)
    boxes = np.array([[[0.0, 0, 12, 4], [0, 6, 6, 12]]])
    label = {
        "boxes_xyxy": boxes,
        "labels": ones,
        "valid": ones == 1,
        "masks": masks,
        "sizes": np.array([[16, 12]]),
        "photo_sizes": np.array([[160, 120]]),
    }
    return Detections(boxes, ones * [0.9, 0.8], ones, ones == 1, found), label | options


def test_masks():
    found = collect(masked())
    assert metrics.coco_average_precision(found, 2).ap == pytest.approx(1)
    coco = metrics.coco_average_precision(found, 2, masks=True)
    np.testing.assert_allclose([coco.ap50, coco.ar100], [51 / 101, 0.5])
    # Of 48 and 36 pixels, each of which is a hundred in the photograph.
    assert coco.ap_medium == coco.ap and np.isnan(coco.ap_small)
    image = found.images[0]
    np.testing.assert_allclose(image.objects.mask_areas, [4800, 3600])
    np.testing.assert_allclose(image.detections.mask_areas, [4800, 1200])
    with pytest.raises(ValueError, match="there are no masks among the results"):
        plain = results((([0], [0.9], [1]), ([0], [1], [0])))
        metrics.coco_average_precision(plain, 2, masks=True)
    detections, label = masked()
    del label["masks"]
    with pytest.raises(ValueError, match="have masks and objects have none"):
        collect((detections, label))
    label = masked()[1]
    for masks, what in (
        (np.full((1, 2, 28, 28), 0.9), r"float64 masks of \(28, 28\) pixels"),
        (np.full((1, 2, 28, 28), True), r"bool masks .* \(16, 16\): see .*paste_masks"),
    ):
        with pytest.raises(ValueError, match=what):
            collect((detections.replace(masks=masks), label))
    unmasked = collect((detections.replace(masks=None), label))
    assert unmasked.images[0].objects.masks is None


def test_coco_needs_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools.coco", None)
    with pytest.raises(errors.UserError, match=r"pip install 'cnnjax\[coco\]'"):
        metrics.coco_average_precision(metrics.DetectionResults(), 2)
