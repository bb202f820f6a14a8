"""Weights that the world has trained: found, read, converted, kept."""

from cnnjax.weights._convert import from_torch as from_torch
from cnnjax.weights._convert import to_torch as to_torch
from cnnjax.weights._epsilon import with_norm_epsilon as with_norm_epsilon
from cnnjax.weights._files import load as load
from cnnjax.weights._files import preprocessing as preprocessing
from cnnjax.weights._preprocessing import Preprocessing as Preprocessing
from cnnjax.weights._pretrained import imagenet_class_names as imagenet_class_names
from cnnjax.weights._saved import class_names as class_names
from cnnjax.weights._saved import is_saved as is_saved
from cnnjax.weights._saved import restore as restore
from cnnjax.weights._saved import save as save
from cnnjax.weights._saved import saved_name as saved_name
from cnnjax.weights._shapes import in_channels as in_channels
from cnnjax.weights._shapes import num_classes as num_classes
from cnnjax.weights._shapes import shapes_of as shapes_of
from cnnjax.weights._stacking import roll as roll
from cnnjax.weights._stacking import unroll as unroll
