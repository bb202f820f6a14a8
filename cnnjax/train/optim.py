"""Optimisers and learning-rate schedules by name, all of them Optax's."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from cnnjax import errors


def _cosine(
    peak: float, num_steps: int, drop_at: Sequence[float], drop_factor: float
) -> optax.Schedule:
    """Half a cosine from the peak to 0 (SGDR, https://arxiv.org/abs/1608.03983)."""
    del drop_at, drop_factor
    return optax.cosine_decay_schedule(peak, max(1, num_steps))


def _linear(
    peak: float, num_steps: int, drop_at: Sequence[float], drop_factor: float
) -> optax.Schedule:
    """A straight line from the peak to 0 (MobileNets, ShuffleNet section 4)."""
    del drop_at, drop_factor
    return optax.linear_schedule(peak, 0.0, max(1, num_steps))


def _step(
    peak: float, num_steps: int, drop_at: Sequence[float], drop_factor: float
) -> optax.Schedule:
    """A drop after each of some parts of the run (ResNet, section 4.2)."""
    drops = {int(num_steps * part): drop_factor for part in drop_at}
    return optax.piecewise_constant_schedule(peak, drops)


def _exponential(
    peak: float, num_steps: int, drop_at: Sequence[float], drop_factor: float
) -> optax.Schedule:
    """The same factor in each step (MobileNetV2, section 6.1)."""
    del drop_at
    return optax.exponential_decay(peak, max(1, num_steps), drop_factor)


def _sgd(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    return optax.chain(
        optax.trace(decay=momentum, nesterov=True),
        # After the momentum: decoupled (https://arxiv.org/abs/1711.05101, alg. 1).
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        optax.scale_by_learning_rate(learning_rate),
    )


def _nesterov(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """As papers from 2016 have it: decay is part of the gradient."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        optax.trace(decay=momentum, nesterov=True),
        optax.scale_by_learning_rate(learning_rate),
    )


def _adamw(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    return optax.adamw(
        learning_rate, b1=momentum, weight_decay=weight_decay, mask=decay_mask
    )


def _momentum(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """As papers until 2017 have it: decay is part of the gradient, no Nesterov."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        optax.trace(decay=momentum),
        optax.scale_by_learning_rate(learning_rate),
    )


def _rmsprop(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """As EfficientNet and MobileNetV2 have it (TensorFlow's epsilon and start at 1)."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        optax.rmsprop(
            learning_rate, decay=0.9, eps=1e-3, initial_scale=1.0, momentum=momentum
        ),
    )


def _lamb(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """Large batches (https://arxiv.org/abs/1904.00962)."""
    return optax.lamb(
        learning_rate, b1=momentum, weight_decay=weight_decay, mask=decay_mask
    )


def _lars(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """Large batches (https://arxiv.org/abs/1708.03888)."""
    return optax.lars(
        learning_rate,
        weight_decay=weight_decay,
        weight_decay_mask=decay_mask,
        trust_ratio_mask=decay_mask,
        momentum=momentum,
    )


SCHEDULES: dict[str, Callable[..., optax.Schedule]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
    "exponential": _exponential,
}
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": _sgd,
    "nesterov": _nesterov,
    "momentum": _momentum,
    "rmsprop": _rmsprop,
    "adamw": _adamw,
    "lamb": _lamb,
    "lars": _lars,
}


def create_schedule(
    name: str,
    *,
    peak: float,
    num_steps: int,
    warmup_steps: int = 0,
    drop_at: Sequence[float] = (0.5, 0.75),
    drop_factor: float = 0.1,
) -> optax.Schedule:
    """Returns a learning rate per step: a linear warm-up, then the named decay.

    Args:
      name: "cosine" or "linear" (to 0), "step" or "exponential".
      peak: the learning rate after the warm-up.
      num_steps: updates in the whole run, warm-up included.
      warmup_steps: updates during which the rate grows from 0 to the peak.
      drop_at: with "step", after which parts of what follows the warm-up it drops.
      drop_factor: with "step", what each drop multiplies the rate by; with
        "exponential", what all that follows the warm-up does.

    Raises:
      UserError: if there is no such schedule, the warm-up is longer than the run, or
        a drop is outside of it.
    """
    if name not in SCHEDULES:
        raise errors.unknown("schedule", name, SCHEDULES)
    if warmup_steps > num_steps:
        raise errors.UserError(
            f"the warm-up of {warmup_steps} steps is longer than the run of {num_steps}"
        )
    if not all(0 < part < 1 for part in drop_at) or not 0 < drop_factor <= 1:
        raise errors.UserError(
            f"the rate cannot drop at {tuple(drop_at)} of the run by {drop_factor}: "
            "parts are between 0 and 1, the factor is in (0, 1]"
        )
    decay = SCHEDULES[name](peak, num_steps - warmup_steps, drop_at, drop_factor)
    if not warmup_steps:
        return decay
    warmup = optax.linear_schedule(0.0, peak, warmup_steps)
    return optax.join_schedules([warmup, decay], [warmup_steps])


def create_optimizer(
    name: str,
    *,
    learning_rate: optax.Schedule,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip_norm: float = 0.0,
    layer_decay: float = 1.0,
) -> optax.GradientTransformation:
    """Returns an optimiser; parameters of less than two dimensions do not decay.

    With "sgd", "adamw" and "lamb" the decay is decoupled: each step subtracts
    `learning_rate * weight_decay * p` from a parameter p (lamb: before its ratio),
    whatever the gradient. With the others `weight_decay * p` is added to the gradient.

    Args:
      name: "sgd" and "nesterov" (both with Nesterov's momentum), "momentum",
        "rmsprop", "adamw", "lamb" or "lars".
      learning_rate: the rate of each step, see `create_schedule`.
      momentum: decay of the gradient's average (Adam's beta 1).
      weight_decay: relative to the learning rate.
      clip_norm: longer gradients are shortened to this norm; 0 leaves all.
      layer_decay: factor on the learning rate from each block to the one before it,
        as in fine-tuning.

    Raises:
      UserError: if there is no such optimiser.
    """
    if name not in OPTIMIZERS:
        raise errors.unknown("optimizer", name, OPTIMIZERS)
    chain = [OPTIMIZERS[name](learning_rate, momentum, weight_decay)]
    if clip_norm:
        chain.insert(0, optax.clip_by_global_norm(clip_norm))
    if layer_decay != 1.0:
        chain.append(_scale_by_depth(layer_decay))
    return chain[0] if len(chain) == 1 else optax.chain(*chain)


# A network with a regressor of hints has the first, one on a classifier the second.
_WRAPPERS = ("student", "backbone")


def _scale_by_depth(factor: float) -> optax.GradientTransformation:
    """Scales updates by a power of a factor: the head by 1, the last block by it."""

    def update(updates: PyTree, params: PyTree) -> PyTree:
        del params
        blocks = updates
        for name in _WRAPPERS:
            blocks = blocks.get(name, blocks)
        depths = block_depths(blocks)
        last = 1 + max((int(np.max(depth)) for depth in depths.values()), default=0)

        def scale(path: Any, leaf: Any) -> Any:
            name = next(entry.key for entry in path if entry.key not in _WRAPPERS)
            powers = factor ** (last - depths.get(name, last))
            return jnp.reshape(powers, (-1,) + (1,) * (leaf.ndim - 1)) * leaf

        return jax.tree.map_with_path(scale, updates)

    return optax.stateless(update)


def block_depths(params: PyTree) -> dict[str, Any]:
    """Returns the depth of outermost modules: 0 of the stem, then 1, 2, ... of blocks.

    Other layers of a stage have the depth of its first block; of scanned blocks, whose
    parameters are stacked, there is an array of depths. Whatever comes after the blocks
    has none.
    """
    places = {}
    for name in params:
        if match := re.match(r"stage(\d+)_(?:blocks?(\d+))?(?:to(\d+))?", name):
            stage, first, last = (int(part or 1) for part in match.groups())
            places[name] = [
                (stage, block) for block in range(first, max(first, last) + 1)
            ]
    order = sorted({place for found in places.values() for place in found})
    depths = {
        name: np.array([1 + order.index(place) for place in found])
        for name, found in places.items()
    }
    return depths | {name: np.zeros(1) for name in params if name.startswith("stem")}


# Of any number of dimensions: of scanned blocks they have one more.
_UNDECAYED = {"bias", "scale", "class_token", "position_embedding"}
_UNDECAYED |= {"relative_position_bias_table"}


def decay_mask(params: PyTree) -> PyTree:
    """Says for each parameter whether it decays: kernels do, norms and biases not.

    Nor do the tables of positions of transformers, as their papers have it.
    """

    def decays(path: Any, leaf: Any) -> bool:
        name = getattr(path[-1], "key", None) if path else None
        return leaf.ndim > 1 and name not in _UNDECAYED

    return jax.tree.map_with_path(decays, params)
