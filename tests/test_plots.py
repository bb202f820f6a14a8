"""Pictures show what they were given."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from cnnjax import plots


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def close_to(image, color):
    """Says which pixels have about that color."""
    return np.abs(image - np.array(color)).max(axis=-1) < 12


def images(count, color):
    return [np.broadcast_to(np.uint8(color), (8, 8, len(color))) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 8, 11])
def test_misclassified_shows_every_image(tmp_path, count):
    path = tmp_path / "page.png"
    shown = []
    for number in (1, count):
        captions = [f"{i}: 3 as 5" for i in range(number)]
        red = images(number, (255, 0, 0))
        plots.misclassified(path, red, captions, title="wrong", columns=4)
        shown.append(close_to(pixels(path), (255, 0, 0)).sum())
    assert shown[0] > 1000
    # Panels shrink a little when there are more rows of them.
    assert shown[1] / shown[0] == pytest.approx(count, rel=0.35)


def test_misclassified_shows_grey_levels_as_they_are(tmp_path):
    path = tmp_path / "page.png"
    grey = [np.tile(np.uint8([0, 100, 200, 255]), (4, 1))[..., None]]
    plots.misclassified(path, grey, ["0: a as b"], title="wrong")
    for level in (0, 100, 200):
        assert close_to(pixels(path), (level,) * 3).sum() > 200


def test_misclassified_may_be_none(tmp_path):
    plots.misclassified(tmp_path / "page.png", [], [], title="none is wrong")
    assert pixels(tmp_path / "page.png").min() < 128  # The title.


def test_confusion_matrix_is_dark_where_the_predictions_are(tmp_path):
    labels = np.array([0, 0, 1, 1])
    darkness = []
    for predictions in ([0, 0, 1, 1], [1, 1, 0, 0]):
        path = tmp_path / "matrix.png"
        plots.confusion_matrix(path, labels, np.array(predictions), ["a", "b"])
        dark = close_to(pixels(path), (8, 48, 107))  # The end of "Blues".
        rows, columns = np.nonzero(dark[:, : dark.shape[1] * 3 // 4])
        darkness.append(np.corrcoef(rows, columns)[0, 1])
    assert darkness[0] > 0.5  # From the upper left to the lower right.
    assert darkness[1] < -0.5


def test_confusion_matrix_of_many_classes(tmp_path):
    labels = np.arange(100)
    names = [f"class {i}" for i in labels]
    plots.confusion_matrix(tmp_path / "matrix.png", labels, labels, names)
    assert max(pixels(tmp_path / "matrix.png").shape) < 2500


def test_learning_curves_draw_both_splits(tmp_path):
    path = tmp_path / "curves.png"
    records = [
        {"step": step, "split": split, "loss": loss / step, "accuracy": loss}
        for step in (1, 2, 3)
        for split, loss in (("train", 0.3), ("validation", 0.6))
    ]
    plots.learning_curves(path, records)
    for color in ((31, 119, 180), (255, 127, 14)):  # Matplotlib's first two.
        assert close_to(pixels(path), color).sum() > 50
    plots.learning_curves(path, [])


def test_stages_draws_a_bar_of_each_height(tmp_path):
    path = tmp_path / "stages.png"
    plots.stages(path, "net", ["stem", "stage1"], [10**9, 5 * 10**8], [10, 20])
    blue = close_to(pixels(path), (0x1F, 0x77, 0xB4))
    heights = blue.sum(axis=0)
    tall, low = (
        heights.max(),
        np.median(heights[len(heights) // 2 :][heights[len(heights) // 2 :] > 5]),
    )
    assert low / tall == pytest.approx(0.5, abs=0.05)


def test_bubbles_draws_areas(tmp_path):
    path = tmp_path / "bubbles.png"
    models = [
        plots.Bubble("big", 10**7, 10**9, 4.0, "a"),
        plots.Bubble("small", 10**6, 10**8, 1.0, "b"),
    ]
    plots.bubbles(path, models, size="bytes")
    image = pixels(path)
    areas = [
        close_to(image, color).sum() for color in ((143, 187, 217), (255, 191, 134))
    ]
    assert areas[0] > 2 * areas[1] > 0


def test_roofline_draws_layers_under_the_roof(tmp_path):
    path = tmp_path / "roofline.png"
    plots.roofline(path, "net", [(1.0, 1e9), (100.0, 5e10)], peak=1e11, bandwidth=1e9)
    assert len(np.unique(pixels(path).reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(
    "bounds", [(2.0, 3.0, 9.0, 11.0), (-np.inf,) * 2 + (np.inf,) * 2]
)
def test_receptive_field_frames_what_geometry_allows(tmp_path, bounds):
    path = tmp_path / "field.png"
    strength = np.zeros((16, 16), np.float32)
    strength[6, 6] = 1.0
    plots.receptive_field(path, [("stage1", strength, bounds)] * 2)
    image = pixels(path)
    assert close_to(image, (0, 255, 255)).sum() > 200  # The frame.
    assert close_to(image, (252, 253, 191)).sum() > 50  # The pixel that counts.


def test_scaling_draws_every_curve(tmp_path):
    path = tmp_path / "scaling.png"
    curves = {
        "slow": [(4, 400.0, 350.0), (256, 20_000.0, 15_000.0)],
        "fast": [(4, 900.0, 890.0)],
    }
    plots.scaling(path, "nets", curves)
    for color in ((31, 119, 180), (255, 127, 14)):  # Matplotlib's first two.
        assert close_to(pixels(path), color).sum() > 50


def test_classes_have_the_colours_of_pascal_voc():
    colours = plots.class_colours(256)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 4: (0, 0, 128), 15: (192, 128, 128)}
    known |= {20: (0, 64, 128), 255: (224, 224, 192)}
    for i, colour in known.items():
        assert tuple(colours[i]) == colour
    assert len(np.unique(colours, axis=0)) == 256


def test_overlay_mixes_the_picture_with_the_colours(tmp_path):
    path = tmp_path / "new" / "overlay.png"
    image = np.full((2, 3, 3), 200, np.uint8)
    labels = np.array([[0, 1, 2], [2, 1, 0]])
    plots.overlay(path, image, labels, opacity=0.25)
    mixed = {0: (150, 150, 150), 1: (182, 150, 150), 2: (150, 182, 150)}
    expected = [[mixed[i] for i in row] for row in labels.tolist()]
    np.testing.assert_array_equal(pixels(path), expected)


GREY = np.full((60, 80, 1), 200, np.uint8)
CLASSES = ["background", "cat", "dog"]


def objects(boxes, labels, scores=None, masks=None):
    scores = None if scores is None else np.float32(scores)
    boxes = np.float32(boxes).reshape(-1, 4)
    return plots.Objects(boxes, np.array(labels, int), scores, masks)


def test_boxes_has_a_frame_and_a_mask_of_each_object(tmp_path):
    path = tmp_path / "new" / "boxes.png"
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 10:40, 10:30] = masks[1, 20:50, 20:60] = True
    found = objects([[10, 10, 30, 40], [20, 20, 60, 50]], [1, 2], [0.9, 0.6], masks)
    plots.boxes(path, [GREY], [found], CLASSES)
    image = pixels(path)
    shares = {}
    for name, color in {"cat": (128, 0, 0), "dog": (0, 128, 0)}.items():
        assert close_to(image, color).sum() > 500, name
        mixed = 0.6 * 200 + 0.4 * np.array(color)
        shares[name] = close_to(image, mixed).sum() / image[..., 0].size
    # The first is on top.
    assert shares["cat"] == pytest.approx(600 / 4800, rel=0.15)
    assert shares["dog"] == pytest.approx((1200 - 200) / 4800, rel=0.15)


@pytest.mark.parametrize("count", [1, 5])
def test_boxes_of_images_without_objects(tmp_path, count):
    path = tmp_path / "boxes.png"
    plots.boxes(path, [GREY] * count, [objects([], [])] * count, CLASSES)
    assert close_to(pixels(path), (200,) * 3).mean() > 0.5 * count / 8


def test_hits_and_misses_counts_each_object_once(tmp_path):
    path = tmp_path / "hits.png"
    green, orange, red = (50, 205, 50), (255, 165, 0), (255, 0, 0)
    box, other = [5, 20, 35, 50], [45, 20, 75, 50]
    one = objects([box], [1])
    for found, shown in (
        (objects([box], [1], [0.9]), [green]),
        (objects([other], [1], [0.9]), [orange, red]),
        (objects([box], [2], [0.9]), [orange, red]),  # Of another class.
        (objects([box, box], [1, 1], [0.9, 0.8]), [green, red]),
        (objects([], [], []), [orange]),
    ):
        plots.hits_and_misses(path, [GREY], [one], [found], CLASSES)
        image = pixels(path)[:-60]  # Without the legend.
        for color in (green, orange, red):
            assert (close_to(image, color).sum() > 100) == (color in shown), color


def test_what_is_ignored_is_not_drawn(tmp_path):
    path = tmp_path / "hits.png"
    crowd, own = [0, 0, 70, 50], [5, 5, 25, 25]
    true = dataclasses.replace(
        objects([crowd, own], [1, 1]), ignored=np.array([True, False])
    )
    found = objects([crowd, own, crowd], [1, 1, 1], [0.9, 0.8, 0.7])
    plots.hits_and_misses(path, [GREY], [true], [found], CLASSES)
    image = pixels(path)[:-60]
    shown = [close_to(image, c).sum() > 100 for c in ((50, 205, 50), (255, 0, 0))]
    assert shown == [True, False] and not (close_to(image, (255, 165, 0)).sum() > 100)
    plots.hits_and_misses(path, [GREY], [true], [objects([crowd], [2], [1])], CLASSES)
    assert close_to(pixels(path)[:-60], (255, 0, 0)).sum() > 100  # Of another class.


def test_hits_depend_on_the_threshold(tmp_path):
    path = tmp_path / "hits.png"
    true, found = objects([[0, 0, 40, 40]], [1]), objects([[0, 0, 40, 20]], [1], [0.9])
    for threshold, hit in ((0.5, True), (0.51, False)):
        plots.hits_and_misses(path, [GREY], [true], [found], CLASSES, threshold)
        assert (close_to(pixels(path)[:-60], (255, 0, 0)).sum() == 0) == hit


@pytest.mark.parametrize("count", [2, 80])
def test_precision_recall_draws_a_line_for_each_class(tmp_path, count):
    path = tmp_path / "curves.png"
    recall = np.linspace(0, 1, 11)
    curves = [(recall, 1 - recall * k / count) for k in range(count)]
    plots.precision_recall(path, curves, [f"class {k}" for k in range(count)])
    for color in ((31, 119, 180), (255, 127, 14)):  # Matplotlib's first two.
        assert close_to(pixels(path), color).sum() > 200


def test_anchors_may_leave_the_image(tmp_path):
    path = tmp_path / "anchors.png"
    groups = {
        "of one place": np.float32([[-20, -20, 20, 20], [-10, -30, 10, 30]]),
        "that match": np.float32([[10, 10, 50, 50]]),
    }
    plots.anchors(path, GREY, groups, np.float32([[15, 15, 50, 55]]))
    image = pixels(path)
    for color in ((31, 119, 180), (255, 127, 14), (0, 0, 0)):
        assert close_to(image, color).sum() > 200
    plots.anchors(path, GREY, {"nothing": np.zeros((0, 4), np.float32)})
