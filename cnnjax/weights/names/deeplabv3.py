"""DeepLab v3, as torchvision calls it."""

from cnnjax.weights.names.dilated_fcn import BACKBONE


PYRAMID = "classifier.0.convs"
NAMES = BACKBONE | {
    "aspp/Conv_4": f"{PYRAMID}.4.1",  # Behind the pooling, which has the number 0.
    "aspp/BatchNorm_4": f"{PYRAMID}.4.2",
    "aspp/Conv_{i}": PYRAMID + ".{i}.0",
    "aspp/BatchNorm_{i}": PYRAMID + ".{i}.1",
    "aspp/conv_proj": "classifier.0.project.0",
    "aspp/norm_proj": "classifier.0.project.1",
    "conv": "classifier.1",
    "norm": "classifier.2",
    "head": "classifier.4",
}
SOURCES = [lambda model: NAMES]
