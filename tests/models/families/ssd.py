"""SSD. Its count as torchvision publishes it."""

from cnnjax.detection import SSD
from families.retinanet import SMALL


NUM_PARAMS = {"ssd300_vgg16": 35_641_826}
TINY = {"vgg": SSD(dims=(4,) * 10, num_classes=4, selection=SMALL)}
