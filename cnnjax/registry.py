"""Architectures by name. Each family's `VARIANTS` is the only source of names."""

import fnmatch
import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnnjax import errors


if TYPE_CHECKING:
    from cnnjax.models import Network, Paper

FAMILIES = (
    "cnnjax.detection.class_aware_rpn",
    "cnnjax.detection.faster_rcnn",
    "cnnjax.detection.fcos",
    "cnnjax.detection.mask_rcnn",
    "cnnjax.detection.retinanet",
    "cnnjax.detection.rfcn",
    "cnnjax.detection.ssd",
    "cnnjax.models.alexnet",
    "cnnjax.models.convnext",
    "cnnjax.models.deit",
    "cnnjax.models.densenet",
    "cnnjax.models.dsn",
    "cnnjax.models.efficientnet",
    "cnnjax.models.efficientnet_lite",
    "cnnjax.models.efficientnet_v2",
    "cnnjax.models.fitnet",
    "cnnjax.models.highway",
    "cnnjax.models.maxout",
    "cnnjax.models.mobilenet_v1",
    "cnnjax.models.mobilenet_v2",
    "cnnjax.models.mobilenet_v3",
    "cnnjax.models.nin",
    "cnnjax.models.regnet",
    "cnnjax.models.resnet",
    "cnnjax.models.resnet_cifar",
    "cnnjax.models.shiftnet",
    "cnnjax.models.shiftresnet",
    "cnnjax.models.shufflenet_v1",
    "cnnjax.models.shufflenet_v2",
    "cnnjax.models.squeezenet",
    "cnnjax.models.swin",
    "cnnjax.models.vgg",
    "cnnjax.models.wide_resnet",
    "cnnjax.segmentation.deeplabv3",
    "cnnjax.segmentation.deeplabv3plus",
    "cnnjax.segmentation.dilated_fcn",
    "cnnjax.segmentation.encoder_unet",
    "cnnjax.segmentation.fcn",
    "cnnjax.segmentation.unet",
)


@functools.cache
def _variants() -> dict[str, "Callable[..., Network]"]:
    """Imports every family, when a name is first asked for."""
    variants = {}
    for family in FAMILIES:
        module = importlib.import_module(family)
        if clash := variants.keys() & module.VARIANTS.keys():
            raise ValueError(f"{family} redefines {sorted(clash)}")
        variants |= module.VARIANTS
    return variants


def create(name: str, /, **options: Any) -> "Network":
    """Builds a variant, e.g. `create("resnet20_cifar", num_classes=100)`.

    Args:
      name: a name from `list_models()`.
      **options: fields of the model that differ from the variant's, and Linen's own,
        e.g. `name` inside of another module.

    Returns:
      A Linen module; `model.apply(variables, images)` returns (output, endpoints).

    Raises:
      UserError: if there is no such variant; suggests the near ones.
      TypeError: if the model has no such field.
    """
    variants = _variants()
    if name not in variants:
        raise errors.unknown("model", name, variants)
    return variants[name](**options)


def list_models(pattern: str = "*") -> list[str]:
    """Returns the sorted names that match a shell pattern, e.g. "resnet*"."""
    return sorted(fnmatch.filter(_variants(), pattern))


def paper(name: str) -> "Paper":
    """Returns where a variant was published.

    Args:
      name: a name from `list_models()`.

    Raises:
      UserError: if there is no such variant; suggests the near ones.
    """
    variants = _variants()
    if name not in variants:
        raise errors.unknown("model", name, variants)
    (module,) = (
        module
        for module in map(importlib.import_module, FAMILIES)
        if name in module.VARIANTS
    )
    return next(
        paper
        for pattern, paper in module.PAPERS.items()
        if fnmatch.fnmatch(name, pattern)
    )
