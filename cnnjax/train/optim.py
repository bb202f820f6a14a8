"""Optimisers and learning-rate schedules by name, all of them Optax's."""

from collections.abc import Callable

import jax
import optax
from jaxtyping import PyTree

from cnnjax import errors


def _cosine(peak: float, num_steps: int) -> optax.Schedule:
    """Half a cosine from the peak to 0 (SGDR, https://arxiv.org/abs/1608.03983)."""
    return optax.cosine_decay_schedule(peak, max(1, num_steps))


def _step(peak: float, num_steps: int) -> optax.Schedule:
    """A tenth after 1/2 and again after 3/4 (ResNet, section 4.2)."""
    return optax.piecewise_constant_schedule(
        peak, {num_steps // 2: 0.1, num_steps * 3 // 4: 0.1}
    )


def _sgd(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    return optax.chain(
        optax.trace(decay=momentum, nesterov=True),
        # After the momentum: decoupled (https://arxiv.org/abs/1711.05101, alg. 1).
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        optax.scale_by_learning_rate(learning_rate),
    )


def _adamw(
    learning_rate: optax.Schedule, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    return optax.adamw(
        learning_rate, b1=momentum, weight_decay=weight_decay, mask=decay_mask
    )


SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "cosine": _cosine,
    "step": _step,
}
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": _sgd,
    "adamw": _adamw,
}


def create_schedule(
    name: str, *, peak: float, num_steps: int, warmup_steps: int = 0
) -> optax.Schedule:
    """Returns a learning rate per step: a linear warm-up, then the named decay.

    Args:
      name: "cosine" (to 0) or "step" (a tenth after 1/2 and after 3/4).
      peak: the learning rate after the warm-up.
      num_steps: updates in the whole run, warm-up included.
      warmup_steps: updates during which the rate grows from 0 to the peak.

    Raises:
      UserError: if there is no such schedule, or the warm-up is longer than the run.
    """
    if name not in SCHEDULES:
        raise errors.unknown("schedule", name, SCHEDULES)
    if warmup_steps > num_steps:
        raise errors.UserError(
            f"the warm-up of {warmup_steps} steps is longer than the run of {num_steps}"
        )
    decay = SCHEDULES[name](peak, num_steps - warmup_steps)
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
) -> optax.GradientTransformation:
    """Returns an optimiser with decoupled weight decay.

    Each step subtracts `learning_rate * weight_decay * p` from every parameter p with
    two or more dimensions, whatever the gradient; norms and biases do not decay.

    Args:
      name: "sgd" (Nesterov momentum) or "adamw".
      learning_rate: the rate of each step, see `create_schedule`.
      momentum: decay of the gradient's average (Adam's beta 1).
      weight_decay: relative to the learning rate.

    Raises:
      UserError: if there is no such optimiser.
    """
    if name not in OPTIMIZERS:
        raise errors.unknown("optimizer", name, OPTIMIZERS)
    return OPTIMIZERS[name](learning_rate, momentum, weight_decay)


def decay_mask(params: PyTree) -> PyTree:
    """Says for each parameter whether it decays: kernels do, norms and biases not."""
    return jax.tree.map(lambda p: p.ndim > 1, params)
