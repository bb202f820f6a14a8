"""What commands are tried on."""

import jax
import numpy as np
import pytest
import skimage.data
import sklearn.datasets
from PIL import Image

import cnnjax
from cnnjax import weights


@pytest.fixture
def photos(tmp_path):
    """Photographs that nobody trained on, by what they show."""
    pictures = {
        "palace": sklearn.datasets.load_sample_image("china.jpg"),
        "espresso": skimage.data.coffee(),
        "cat": skimage.data.chelsea(),
    }
    paths = {name: tmp_path / f"{name}.png" for name in pictures}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(paths[name])
    return paths


@pytest.fixture
def saved(tmp_path):
    """A file of `weights.save`, its model and its variables."""
    model = cnnjax.create("resnet20_cifar", num_classes=3)
    images = np.zeros((1, 8, 8, 3), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), images)
    path = tmp_path / "saved.safetensors"
    weights.save(path, "resnet20_cifar", variables, num_classes=3, storage="int8")
    return path, *weights.restore(path)
