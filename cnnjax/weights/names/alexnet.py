"""AlexNet, as torchvision calls its layers."""

NAMES = {
    "stem": "features.0",
    "stage1_conv1": "features.3",
    "stage2_conv1": "features.6",
    "stage2_conv2": "features.8",
    "stage2_conv3": "features.10",
    "fc1": "classifier.1",
    "fc2": "classifier.4",
    "head": "classifier.6",
}
SOURCES = [lambda model: NAMES]
