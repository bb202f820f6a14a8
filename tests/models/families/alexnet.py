"""AlexNet. Count as torchvision publishes it."""

from cnnjax.models.alexnet import AlexNet


NUM_PARAMS = {"alexnet": 61_100_840}
TINY = {
    "small": AlexNet(
        dims=(8, 8, 8, 8, 8), hidden_features=16, num_classes=10, image_size=63
    )
}
# Without padding, no endpoint has ceil(image / stride) rows; see test_alexnet.py.
STRIDES = {}
