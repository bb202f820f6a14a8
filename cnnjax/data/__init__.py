"""Data sets by name (TFDS, no TensorFlow needed) and batches of them (Grain)."""

from cnnjax.data.augment import ColourJitter as ColourJitter
from cnnjax.data.augment import Compose as Compose
from cnnjax.data.augment import RandomCrop as RandomCrop
from cnnjax.data.augment import RandomErasing as RandomErasing
from cnnjax.data.augment import RandomFlip as RandomFlip
from cnnjax.data.augment import RandomResizedCrop as RandomResizedCrop
from cnnjax.data.coco import load_coco_folder as load_coco_folder
from cnnjax.data.detection import DetectionSource as DetectionSource
from cnnjax.data.loading import default_data_dir as default_data_dir
from cnnjax.data.loading import load as load
from cnnjax.data.loading import load_clips as load_clips
from cnnjax.data.loading import load_detection as load_detection
from cnnjax.data.loading import load_segmentation as load_segmentation
from cnnjax.data.pipeline import eval_batches as eval_batches
from cnnjax.data.pipeline import train_batches as train_batches
from cnnjax.data.rand_augment import RandAugment as RandAugment
from cnnjax.data.sources import ClipSource as ClipSource
from cnnjax.data.sources import ImageSource as ImageSource
from cnnjax.data.sources import SegmentationSource as SegmentationSource
from cnnjax.data.sources import Source as Source
from cnnjax.data.transforms import IGNORE_LABEL as IGNORE_LABEL
from cnnjax.data.transforms import RandomAffine as RandomAffine
