"""Convolutional networks for JAX: models, data, training, as pure functions.

`import cnnjax` loads nothing but this file and the registry; every room of the house
(`cnnjax.models`, `cnnjax.train`, ...) is imported when it is first touched.
"""

import importlib
from typing import TYPE_CHECKING

from cnnjax.registry import create as create
from cnnjax.registry import list_models as list_models


if TYPE_CHECKING:
    from cnnjax import cli as cli
    from cnnjax import cost as cost
    from cnnjax import data as data
    from cnnjax import detection as detection
    from cnnjax import inference as inference
    from cnnjax import losses as losses
    from cnnjax import metrics as metrics
    from cnnjax import models as models
    from cnnjax import nn as nn
    from cnnjax import ops as ops
    from cnnjax import plots as plots
    from cnnjax import recipes as recipes
    from cnnjax import segmentation as segmentation
    from cnnjax import train as train
    from cnnjax import video as video
    from cnnjax import weights as weights

__version__ = "0.1.0"

_ROOMS = "cli cost data detection inference losses metrics models nn ops plots".split()
_ROOMS += ["recipes", "segmentation", "train", "video", "weights"]


def __getattr__(name: str):
    if name in _ROOMS:
        return importlib.import_module(f"cnnjax.{name}")
    raise AttributeError(f"module 'cnnjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
