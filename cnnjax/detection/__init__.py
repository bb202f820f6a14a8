"""Networks that find objects, one file per architecture, and what they are made of."""

from cnnjax.detection._anchors import grid_anchors as grid_anchors
from cnnjax.detection._anchors import ssd_anchors as ssd_anchors
from cnnjax.detection._coding import decode_boxes as decode_boxes
from cnnjax.detection._coding import encode_boxes as encode_boxes
from cnnjax.detection._detector import Detector as Detector
from cnnjax.detection._detector import PyramidDetector as PyramidDetector
from cnnjax.detection._masks import paste_masks as paste_masks
from cnnjax.detection._matching import BETWEEN as BETWEEN
from cnnjax.detection._matching import NO_OBJECT as NO_OBJECT
from cnnjax.detection._matching import match_anchors as match_anchors
from cnnjax.detection._outputs import Detections as Detections
from cnnjax.detection._outputs import Selection as Selection
from cnnjax.detection.class_aware_rpn import ClassAwareRPN as ClassAwareRPN
from cnnjax.detection.faster_rcnn import FasterRCNN as FasterRCNN
from cnnjax.detection.fcos import FCOS as FCOS
from cnnjax.detection.mask_rcnn import MaskRCNN as MaskRCNN
from cnnjax.detection.retinanet import RetinaNet as RetinaNet
from cnnjax.detection.rfcn import RFCN as RFCN
from cnnjax.detection.ssd import SSD as SSD
