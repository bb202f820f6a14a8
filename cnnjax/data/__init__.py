"""Data sets by name (TFDS, no TensorFlow needed) and batches of them (Grain)."""

from cnnjax.data.pipeline import eval_batches as eval_batches
from cnnjax.data.pipeline import train_batches as train_batches
from cnnjax.data.sources import ImageSource as ImageSource
from cnnjax.data.sources import default_data_dir as default_data_dir
from cnnjax.data.sources import load as load
from cnnjax.data.transforms import RandomAffine as RandomAffine
