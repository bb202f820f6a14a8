"""Data sets by name, and what bad names and bad bytes get."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cnnjax import data, errors


def test_any_classification_set_of_tfds(tmp_path):
    with tfds.testing.mock_data(num_examples=7):
        source = data.load("cifar10", "train", tmp_path)
        assert len(source) == 7
        example = source[3]
    assert source.image_shape == (32, 32, 3)
    assert len(source.class_names) == 10
    assert example["image"].shape == (32, 32, 3)
    assert example["image"].dtype == np.uint8
    assert 0 <= example["label"] < 10


def test_slices_of_splits(data_dir):
    part = data.load("digits", "train[1000:]+validation[:10]", data_dir)
    assert len(part) == 307
    train = data.load("digits", "train", data_dir)
    np.testing.assert_array_equal(part[0]["image"], train[1000]["image"])


def test_iteration_ends(data_dir):
    assert len(list(data.load("digits", "test[:5]", data_dir))) == 5


@pytest.mark.parametrize(
    "name, split, message",
    [
        ("digit", "train", "unknown data set 'digit'; did you mean digits"),
        ("cifar-10", "train", "unknown data set 'cifar-10'; did you mean cifar10"),
        ("digits", "trian", "no split 'trian'; there are train, validation, test"),
        ("digits", "train[", "no split"),
        ("cifar10", "train", r"'cifar10' is not prepared in .*cnnjax\[tf\].*array_rec"),
        ("a b", "train", "unknown data set 'a b'"),
        ("cifar10:9.9.9", "train", "cannot open data set 'cifar10:9.9.9'"),
        ("cifar10/no_config", "train", "cannot open data set 'cifar10/no_config'"),
        ("wider_face", "train", "not image classification: .*it needs 'image' and"),
    ],
)
def test_bad_names(data_dir, name, split, message):
    with pytest.raises(errors.UserError, match=message) as error:
        data.load(name, split, data_dir)
    assert "\n" not in str(error.value)


class Numbers(tfds.core.GeneratorBasedBuilder):
    """Three grey images, two of which can be broken."""

    VERSION = tfds.core.Version("1.0.0")
    encoded: tuple[bytes, ...] = ()

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 1)),
                    "label": tfds.features.ClassLabel(num_classes=2),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i, encoded in enumerate(self.encoded):
            yield i, {"image": io.BytesIO(encoded), "label": i % 2}


def png(size):
    file = io.BytesIO()
    Image.new("L", size, 200).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    "broken", [b"", b"no image at all", png((9, 9))[:40]], ids=["empty", "text", "cut"]
)
@pytest.mark.filterwarnings("ignore:Truncated")
def test_a_broken_image_is_named_by_its_index(tmp_path, monkeypatch, broken):
    monkeypatch.setattr(Numbers, "encoded", (png((8, 8)), broken, png((9, 7))))
    builder = Numbers(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    source = data.load("numbers", "train", tmp_path)
    assert source[0]["image"].shape == (8, 8, 1)
    assert source[2]["image"].shape == (7, 9, 1)
    with pytest.raises(errors.UserError, match=r"^image 1 of numbers/train cannot be"):
        source[1]
    batches = data.train_batches(source, batch_size=3, image_size=8, seed=0)
    with pytest.raises(errors.UserError, match="image 1 of numbers/train"):
        next(batches)


@pytest.mark.parametrize(
    "example, message",
    [
        ({"image": np.zeros((0, 8, 1), np.uint8), "label": 0}, "is no image: shape"),
        ({"image": np.zeros((8, 8), np.uint8), "label": 0}, "is no image: shape"),
        ({"image": np.zeros((8, 8, 1), np.float32), "label": 0}, "type float32"),
        ({"image": np.zeros((8, 8, 1), np.uint8), "label": 10}, "has label 10"),
        ({"image": np.zeros((8, 8, 1), np.uint8), "label": -1}, "has label -1"),
        ({"label": 0}, "cannot be read: KeyError"),
    ],
)
def test_an_example_of_the_wrong_kind_is_named(data_dir, example, message):
    source = data.load("digits", "train", data_dir)
    source = dataclasses.replace(source, examples=[example])
    with pytest.raises(errors.UserError, match=f"image 0 of digits/train .*{message}"):
        source[0]


def test_a_tfrecord_set_says_that_it_needs_tensorflow(data_dir, monkeypatch):
    monkeypatch.setattr(
        tfds.core.DatasetInfo, "file_format", tfds.core.FileFormat.TFRECORD
    )
    with pytest.raises(errors.UserError, match="prepared as tfrecord, which only Tens"):
        data.load("digits", "train", data_dir)


def test_an_image_is_decoded_once_if_the_set_is_small(data_dir, monkeypatch):
    source = data.load("digits", "train", data_dir)
    assert source[4] is source[4]
    monkeypatch.setattr("cnnjax.data.sources.CACHE_BYTES", 0)
    source = data.load("digits", "train", data_dir)
    assert source[4] is not source[4]
