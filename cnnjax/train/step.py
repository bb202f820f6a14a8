"""One step of training and of evaluation: pure functions that know of no devices."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cnnjax.metrics import Mean
from cnnjax.train.state import TrainState


def train_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    state: TrainState,
    batch: dict[str, Array],
    key: Array,
    *,
    axis_name: str | None = None,
) -> tuple[TrainState, dict[str, Any]]:
    """Does one update on the mean cross-entropy of a batch.

    Args:
      model: returns (logits, endpoints).
      tx: the optimiser, clipping and decay included.
      state: the state before the update.
      batch: "image" [n, h, w, c] and integer "label" [n].
      key: the run's key; the step number is folded into it here.
      axis_name: axis to average gradients over under pmap or shard_map; None
        under jit, where the sharding of the batch implies the reduction.

    Returns:
      The state after the update, and scalar metrics: loss and accuracy before it, and
      the norm of the gradient.
    """
    key = jax.random.fold_in(key, state.step)
    if axis_name is not None:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))

    def loss_fn(params):
        (logits, _), mutated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch["image"],
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        return jnp.mean(losses), (logits, mutated.get("batch_stats", {}))

    params = state.params
    if axis_name is not None:
        # Without this cast, shard_map's autodiff sums the gradients over the axis
        # by itself, and the mean below would be wrong without an error.
        params = jax.tree.map(
            lambda p: jax.lax.pcast(p, axis_name, to="varying"), params
        )
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (logits, batch_stats)), grads = grad_fn(params)
    accuracy = jnp.mean(jnp.argmax(logits, axis=-1) == batch["label"])
    if axis_name is not None:
        loss, accuracy, batch_stats, grads = jax.lax.pmean(
            (loss, accuracy, batch_stats, grads), axis_name
        )
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {
        "loss": loss,
        "accuracy": accuracy,
        "grad_norm": optax.tree.norm(grads),
    }
    return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def eval_step(
    model: nn.Module,
    state: TrainState,
    batch: dict[str, Array],
    *,
    axis_name: str | None = None,
) -> tuple[dict[str, Mean], Float[Array, "n classes"]]:
    """Measures the model on the images of a batch that its mask lets through.

    Args:
      model: returns (logits, endpoints).
      state: the state to evaluate.
      batch: "image" [n, h, w, c], integer "label" [n] and boolean "mask" [n].
      axis_name: axis to sum the metrics over under pmap or shard_map.

    Returns:
      The means "loss" and "accuracy", to be added over batches; and the logits.
    """
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits, _ = model.apply(variables, batch["image"])
    label, mask = batch["label"], batch["mask"]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    metrics = {
        "loss": Mean.of(losses, mask),
        "accuracy": Mean.of(jnp.argmax(logits, axis=-1) == label, mask),
    }
    if axis_name is not None:
        metrics = jax.lax.psum(metrics, axis_name)
    return metrics, logits
