"""Weights that were trained with another epsilon of batch normalisation."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp

from cnnjax.errors import UserError
from cnnjax.models import Network


def with_norm_epsilon(
    model: Network, variables: Mapping[str, Any], epsilon: float
) -> dict[str, Any]:
    """Makes a model compute in inference what one with another epsilon would.

    A BatchNorm divides by `sqrt(variance + epsilon)`, so that the difference of the
    epsilons can be added to the running variances.

    Torchvision's weights for COCO of `fasterrcnn_resnet50_fpn`,
    `maskrcnn_resnet50_fpn` and `retinanet_resnet50_fpn` (its `COCO_V1`) were trained
    with 0; those of its other detectors were not.

    Args:
      model: with any epsilons.
      variables: of the model.
      epsilon: of the model that the variables were trained for.

    Returns:
      {"params": …, "batch_stats": …}.

    Raises:
      UserError: if the model has no BatchNorm.
    """
    own = {}

    def record(call, args, kwargs, context):
        if isinstance(module := context.module, nn.BatchNorm):
            own[module.path] = module.epsilon
        return call(*args, **kwargs)

    size = model.image_size
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    with nn.intercept_methods(record):
        jax.eval_shape(model.init, jax.random.key(0), image)
    if not own:
        raise UserError(f"a {type(model).__name__} has no batch normalisation")
    flat = flax.traverse_util.flatten_dict(dict(variables))
    for norm, its in own.items():
        path = ("batch_stats", *norm, "var")
        flat[path] = flat[path] + (epsilon - its)
    return flax.traverse_util.unflatten_dict(flat)
