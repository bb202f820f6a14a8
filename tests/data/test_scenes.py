"""Stills: what is drawn, what is said of it, and that the two agree."""

import inspect

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_digits

from cnnjax.data import _drawing, _embedded, digits, scenes


CONFIGS = {config.name: config for config in scenes.Scenes.BUILDER_CONFIGS}
STILLS = ["dense", "sparse", "large"]


def draw(name, seed):
    images, labels = _embedded.load_digits()
    return CONFIGS[name].draw(np.random.default_rng(seed), images, labels)


def arrays(example):
    """Returns what was drawn as arrays; files are read again at each call."""
    keys = ("image", "segmentation_mask", "instances")
    return [np.asarray(Image.open(example[key])) for key in keys]


@pytest.fixture(scope="module", params=STILLS)
def some(request):
    return request.param, [draw(request.param, seed) for seed in range(60)]


def test_masks_instances_and_boxes_agree(some):
    name, examples = some
    for example in examples:
        image, classes, instances = arrays(example)
        size = CONFIGS[name].size
        assert image.shape == (size, size, 3)
        objects = example["objects"]
        assert CONFIGS[name].counts[0] - 1 <= len(objects) <= scenes.MAX_OBJECTS
        # No number is left out, and the background is that of both.
        assert np.unique(instances).tolist() == list(range(len(objects) + 1))
        np.testing.assert_array_equal(classes == 0, instances == 0)
        for number, thing in enumerate(objects, start=1):
            mask = instances == number
            assert (classes[mask] == thing["label"] + 1).all()
            box = thing["bbox"]
            top, left, bottom, right = (
                round(side * size) for side in (box.ymin, box.xmin, box.ymax, box.xmax)
            )
            assert mask[top:bottom, left:right].sum() == mask.sum()
            for side in (top, bottom - 1):
                assert mask[side].any()
            for side in (left, right - 1):
                assert mask[:, side].any()


@pytest.mark.parametrize(
    "name, least, most",
    [("dense", 0.17, 0.23), ("sparse", 0.009, 0.012), ("large", 0.15, 0.23)],
)
def test_share_of_the_foreground(name, least, most):
    shares = [(arrays(draw(name, seed))[1] > 0).mean() for seed in range(50)]
    assert least < np.mean(shares) < most


def test_all_classes_sizes_and_places_occur():
    objects = [thing for seed in range(60) for thing in draw("dense", seed)["objects"]]
    labels = np.bincount([thing["label"] for thing in objects], minlength=10)
    assert labels.min() > 0.5 * labels.mean()
    boxes = np.array([[*thing["bbox"]] for thing in objects])
    heights = boxes[:, 2] - boxes[:, 0]
    least, most = scenes.Stills.sides
    assert heights.min() <= least / 64 and heights.max() >= (most - 1) / 64
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (abs(centres.mean(axis=0) - 0.5) < 0.05).all()
    assert (centres.std(axis=0) > 0.15).all()


def test_later_digits_leave_enough_of_earlier_ones(monkeypatch):
    painted = []
    paint = _drawing.paint

    def recorded(image, where, cover, ink):
        painted.append(_drawing.covered(cover).sum())
        paint(image, where, cover, ink)

    monkeypatch.setattr(_drawing, "paint", recorded)
    shares = []
    for seed in range(40):
        painted.clear()
        _, _, instances = arrays(draw("dense", seed))
        shares += (np.bincount(instances.ravel())[1:] / painted).tolist()
    assert 0.9 <= min(shares) < 0.95 and max(shares) == 1
    assert 0.1 < np.mean(np.array(shares) < 1) < 0.9


def test_digits_stand_out():
    for seed in range(60):
        image, classes, _ = arrays(draw("sparse", seed))
        grey, mask = image.mean(axis=-1), classes > 0
        around = ndimage.binary_dilation(mask, iterations=3) & ~mask
        assert abs(grey[mask].mean() - grey[around].mean()) > 0.12 * 255


def test_an_image_is_a_function_of_its_generator():
    first, again, other = (arrays(draw("dense", seed)) for seed in (5, 5, 6))
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[0], other[0])


def generate(name, split, tmp_path):
    return list(scenes.Scenes(config=name, data_dir=tmp_path)._generate_examples(split))


@pytest.mark.parametrize("name", ["dense", "clips"])
def test_an_example_depends_on_data_set_split_and_number_alone(
    few_scenes, tmp_path, monkeypatch, name
):
    def contents(split):
        key = "image" if name == "dense" else "video"
        files = [example[key] for _, example in generate(name, split, tmp_path)]
        return [file[0].read() if name == "clips" else file.read() for file in files]

    all_train = contents("train")
    assert len(all_train) == few_scenes["train"]
    assert len({*all_train, *contents("validation"), *contents("test")}) == sum(
        few_scenes.values()
    )
    monkeypatch.setattr(CONFIGS[name], "examples", (3, 1, 1))
    assert contents("train") == all_train[:3]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("split", digits.SPLITS)
def test_splits_draw_from_their_own_digits(
    few_scenes, tmp_path, monkeypatch, name, split
):
    given = []
    monkeypatch.setattr(
        type(CONFIGS[name]), "draw", lambda self, rng, *args: given.append(args)
    )
    generate(name, split, tmp_path)
    expected, part = load_digits(), digits.SPLITS[split]
    for images, labels in given:
        np.testing.assert_array_equal(
            images, np.round(expected.images[part] * 255 / 16)
        )
        np.testing.assert_array_equal(labels, expected.target[part])
    assert len(given) == few_scenes[split]


def test_what_leaves_a_window_enters_opposite():
    image = np.zeros((6, 6), int)
    image[_drawing.window(6, 3, *np.array([5, 4]))] = np.arange(1, 10).reshape(3, 3)
    assert image[5, 4] == 1 and image[5, 0] == 3 and image[0, 4] == 4
    assert image[1, 0] == 9 and (image > 0).sum() == 9


def test_enlarging_keeps_constants_order_and_middle():
    flat = _drawing.enlarge(np.full((8, 8), 0.7), 30)
    np.testing.assert_allclose(flat, 0.7)
    ramp = np.tile(np.arange(8.0), (8, 1))
    large = _drawing.enlarge(ramp, 24)
    assert (np.diff(large, axis=1) > 0).all()
    np.testing.assert_allclose(large + large[:, ::-1], 7.0)


def test_every_config_is_described():
    for name in CONFIGS:
        assert f"`scenes/{name}`" in inspect.getdoc(scenes)
