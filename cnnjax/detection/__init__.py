"""What detectors are made of: anchors, what differs from them, who finds what."""

from cnnjax.detection._anchors import grid_anchors as grid_anchors
from cnnjax.detection._anchors import ssd_anchors as ssd_anchors
from cnnjax.detection._coding import decode_boxes as decode_boxes
from cnnjax.detection._coding import encode_boxes as encode_boxes
from cnnjax.detection._matching import BETWEEN as BETWEEN
from cnnjax.detection._matching import NO_OBJECT as NO_OBJECT
from cnnjax.detection._matching import match_anchors as match_anchors
