"""One step of training and of evaluation: pure functions that know of no devices."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Num, PyTree

from cnnjax.metrics import Mean
from cnnjax.train.state import TrainState


Batch = dict[str, Array]
Loss = Callable[[Float[Array, "n classes"], Float[Array, "n classes"]], Array]


def train_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    key: Array,
    *,
    axis_name: str | None = None,
    loss: Loss = optax.softmax_cross_entropy,
    label_smoothing: float = 0.0,
    mix: Callable[[Batch, Array], Batch] | None = None,
    micro_batches: int = 1,
    ema_decay: float = 0.0,
) -> tuple[TrainState, dict[str, Any]]:
    """Does one update on the mean loss of a batch.

    Args:
      model: returns (logits, endpoints).
      tx: the optimiser, clipping and decay included.
      state: the state before the update.
      batch: "image" [n, h, w, c] and "label": classes [n], or shares [n, classes].
      key: the run's key; the step number is folded into it here.
      axis_name: axis to average gradients over under pmap or shard_map; None
        under jit, where the sharding of the batch implies the reduction.
      loss: (logits, shares of the classes) -> [n] or [n, classes], whose mean counts.
      label_smoothing: how much of each label is spread over all classes.
      mix: changes the images and labels of a batch on the device, given a key; see
        `cnnjax.train.mixup`.
      micro_batches: in how many parts, one after the other, the gradient is computed,
        to save memory. It is the whole batch's but for BatchNorm, which sees parts.
      ema_decay: share that the running average of the parameters keeps in an update, if
        the state has one.

    Returns:
      The state after the update, and scalar metrics: loss and accuracy before it, and
      the norm of the gradient.
    """
    key = jax.random.fold_in(key, state.step)
    if axis_name is not None:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    mix_key, dropout_key = jax.random.split(key)

    def loss_fn(params, batch_stats, part, key):
        (logits, _), mutated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            part["image"],
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        shares = _shares(part["label"], logits, label_smoothing)
        accuracy = jnp.mean(_predicts(logits, part["label"]))
        losses = loss(logits.astype(jnp.float32), shares)
        return jnp.mean(losses), (accuracy, mutated.get("batch_stats", {}))

    params = state.params
    if axis_name is not None:
        # Without this cast, shard_map's autodiff sums the gradients over the axis
        # by itself, and the mean below would be wrong without an error.
        params = jax.tree.map(
            lambda p: jax.lax.pcast(p, axis_name, to="varying"), params
        )
    if mix is not None:
        batch = mix(batch, mix_key)
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
    (value, (accuracy, batch_stats)), grads = _accumulate(
        grad_fn, params, state.batch_stats, batch, dropout_key, micro_batches
    )
    if axis_name is not None:
        value, accuracy, batch_stats, grads = jax.lax.pmean(
            (value, accuracy, batch_stats, grads), axis_name
        )
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params:
        ema_params = optax.incremental_update(params, ema_params, 1 - ema_decay)
    metrics = {
        "loss": value,
        "accuracy": accuracy,
        "grad_norm": optax.tree.norm(grads),
    }
    step = state.step + 1
    return TrainState(step, params, batch_stats, opt_state, ema_params), metrics


def _accumulate(
    grad_fn: Callable[..., Any],
    params: PyTree,
    batch_stats: PyTree,
    batch: Batch,
    key: Array,
    count: int,
) -> Any:
    """Returns the mean of what `grad_fn` returns for parts of a batch.

    The statistics go from part to part; those of the last one are returned.
    """
    if count == 1:
        return grad_fn(params, batch_stats, batch, key)
    parts = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]), batch)
    keys = jax.random.split(key, count)

    def one(batch_stats, i):
        part = jax.tree.map(lambda x: x[:, i], parts)
        (value, (accuracy, batch_stats)), grads = grad_fn(
            params, batch_stats, part, keys[i]
        )
        return batch_stats, (value, accuracy, grads)

    batch_stats, found = jax.lax.scan(one, batch_stats, jnp.arange(count))
    value, accuracy, grads = jax.tree.map(lambda x: jnp.mean(x, axis=0), found)
    return (value, (accuracy, batch_stats)), grads


def _shares(
    label: Num[Array, "..."], logits: Float[Array, "n classes"], smoothing: float
) -> Float[Array, "n classes"]:
    """Returns how much of each image belongs to each class."""
    num_classes = logits.shape[-1]
    if label.ndim == 1:
        label = jax.nn.one_hot(label, num_classes)
    return optax.smooth_labels(label, smoothing) if smoothing else label


def _predicts(logits: Float[Array, "n classes"], label: Num[Array, "..."]) -> Array:
    """Says of which images the largest logit is that of the (largest) label."""
    classes = label if label.ndim == 1 else jnp.argmax(label, axis=-1)
    return jnp.argmax(logits, axis=-1) == classes


def eval_step(
    model: nn.Module,
    state: TrainState,
    batch: Batch,
    *,
    axis_name: str | None = None,
) -> tuple[dict[str, Mean], Float[Array, "n classes"]]:
    """Measures the model on the images of a batch that its mask lets through.

    Args:
      model: returns (logits, endpoints).
      state: the state to evaluate, the running average of its parameters if it has one.
      batch: "image" [n, h, w, c], integer "label" [n] and boolean "mask" [n].
      axis_name: axis to sum the metrics over under pmap or shard_map.

    Returns:
      The means "loss" and "accuracy", to be added over batches; and the logits.
    """
    variables = {"params": state.eval_params, "batch_stats": state.batch_stats}
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
