"""One step of training and of evaluation: pure functions that know of no devices."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Num, PyTree

from cnnjax.metrics import ConfusionMatrix, Mean
from cnnjax.train.distillation import Distillation
from cnnjax.train.state import TrainState


Batch = dict[str, Any]
Loss = Callable[[Float[Array, "n *hw classes"], Num[Array, "n ..."]], Array]


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
    distillation: Distillation | None = None,
    micro_batches: int = 1,
    ema_decay: float = 0.0,
) -> tuple[TrainState, dict[str, Any]]:
    """Does one update on the mean loss of a batch.

    Args:
      model: returns (logits, endpoints).
      tx: the optimiser, clipping and decay included.
      state: the state before the update.
      batch: "image" [n, h, w, c] and "label": classes [n], or shares [n, classes]; or
        the class of each pixel [n, h, w].
      key: the run's key; the step number is folded into it here.
      axis_name: axis to average gradients over under pmap or shard_map; None
        under jit, where the sharding of the batch implies the reduction.
      loss: (logits, shares of the classes) -> [n] or [n, classes], whose mean counts.
        Classes of pixels it gets as they are.
      label_smoothing: how much of each label is spread over all classes.
      mix: changes the images and labels of a batch on the device, given a key; see
        `cnnjax.train.mixup`.
      distillation: what is to be learnt from another network.
      micro_batches: in how many parts, one after the other, the gradient is computed,
        to save memory. It is the whole batch's but for BatchNorm, which sees parts.
      ema_decay: share that the running average of the parameters keeps in an update, if
        the state has one.

    Returns:
      The state after the update, and scalar metrics: loss and accuracy (of pixels that
      have one of the classes, if they are labelled; of objects, the losses of which it
      is the sum) before it, and the norm of the gradient. If the state has a
      `loss_scale` and a scaled gradient overflows, the update is left out (norm 0;
      schedules do not advance) and the scale is halved.
    """
    key = jax.random.fold_in(key, state.step)
    if axis_name is not None:
        key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
    mix_key, dropout_key = jax.random.split(key)

    def loss_fn(params, batch_stats, part, key):
        image, label = part["image"], part["label"]
        arguments = objects_of(label)
        outputs, mutated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            image,
            *arguments,
            train=True,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        if arguments:  # A detector has its own losses.
            metrics = jax.tree.map(jnp.mean, outputs[0])
            losses = sum(outputs[0].values())
        else:
            logits = outputs[0].astype(jnp.float32)
            losses = loss(logits, _targets(label, logits, label_smoothing))
            if distillation is not None:
                losses = jnp.mean(losses.reshape(len(losses), -1), axis=1)
                losses = distillation(losses, image, outputs, state.step)
            metrics = {"accuracy": _accuracy(logits, label)}
        return jnp.mean(losses), (metrics, mutated.get("batch_stats", {}))

    params = state.params
    if axis_name is not None:
        # Without this cast, shard_map's autodiff sums the gradients over the axis
        # by itself, and the mean below would be wrong without an error.
        params = jax.tree.map(
            lambda p: jax.lax.pcast(p, axis_name, to="varying"), params
        )
    if mix is not None:
        batch = mix(batch, mix_key)
    found, batch_stats, scaling = _accumulate(
        functools.partial(_gradient, loss_fn, state.loss_scale, params),
        state.batch_stats,
        batch,
        dropout_key,
        micro_batches,
        axis_name,
    )
    if axis_name is not None:
        found, batch_stats = jax.lax.pmean((found, batch_stats), axis_name)
        scaling = jax.lax.pmin(scaling, axis_name)
    value, metrics, grads = found
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = state.ema_params
    if ema_params:
        ema_params = optax.incremental_update(params, ema_params, 1 - ema_decay)
    updated = TrainState(
        state.step + 1, params, batch_stats, opt_state, ema_params, state.loss_scale
    )
    metrics = {"loss": value, **metrics, "grad_norm": optax.tree.norm(grads)}
    if scaling:
        loss_scale, finite = scaling
        kept = dataclasses.replace(state, step=state.step + 1)
        updated = jax.tree.map(lambda a, b: jnp.where(finite, a, b), updated, kept)
        updated = dataclasses.replace(updated, loss_scale=loss_scale)
        metrics["grad_norm"] = jnp.where(finite, metrics["grad_norm"], 0.0)
        metrics["loss_scale"] = loss_scale.scale
    return updated, metrics


def objects_of(label: Array | Mapping[str, Array]) -> tuple[Any, ...]:
    """Returns what a detector takes besides images: objects and sizes; else nothing."""
    return (label, label.get("sizes")) if isinstance(label, Mapping) else ()


def _gradient(
    loss_fn: Callable[..., Any],
    loss_scale: PyTree,
    params: PyTree,
    batch_stats: PyTree,
    batch: Batch,
    key: Array,
) -> tuple[PyTree, PyTree, PyTree]:
    """Returns means over images; statistics; and, if there is a scale, what becomes
    of it and whether the gradient is finite, both smallest where it is not.
    """
    arguments = (params, batch_stats, batch, key)
    if loss_scale:
        grad_fn = loss_scale.value_and_grad(loss_fn, has_aux=True)
        loss_scale, finite, (value, aux), grads = grad_fn(*arguments)
        scaling = (loss_scale, finite.astype(jnp.int32))
    else:
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (value, aux), grads = grad_fn(*arguments)
        scaling = ()
    metrics, batch_stats = aux
    return (value, metrics, grads), batch_stats, scaling


def _accumulate(
    gradient: Callable[..., tuple[PyTree, PyTree, PyTree]],
    batch_stats: PyTree,
    batch: Batch,
    key: Array,
    count: int,
    axis_name: str | None,
) -> tuple[PyTree, PyTree, PyTree]:
    """Returns what `gradient` returns for a batch, of which it sees parts.

    The statistics go from part to part; those of the last one are returned.
    """
    # A loop's statistics have to be of one type: of each device, even if all are alike.
    here = 0 if axis_name is None else 0 * jax.lax.axis_index(axis_name)

    def of_device(stats):
        return jax.tree.map(lambda x: x + jnp.asarray(here, x.dtype), stats)

    if count == 1:
        return gradient(batch_stats, batch, key)
    parts = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]), batch)
    keys = jax.random.split(key, count)

    def one(batch_stats, i):
        part = jax.tree.map(lambda x: x[:, i], parts)
        found, batch_stats, scaling = gradient(batch_stats, part, keys[i])
        return of_device(batch_stats), (found, scaling)

    batch_stats, (found, scaling) = jax.lax.scan(
        one, of_device(batch_stats), jnp.arange(count)
    )
    found = jax.tree.map(lambda x: jnp.mean(x, axis=0), found)
    scaling = jax.tree.map(lambda x: jnp.min(x, axis=0), scaling)
    return found, batch_stats, scaling


def _targets(
    label: Num[Array, "n ..."], logits: Float[Array, "n *hw classes"], smoothing: float
) -> Num[Array, "n ..."]:
    """Returns how much of an image belongs to each class; or the classes of pixels."""
    if _is_of_pixels(label):
        return label
    if label.ndim == 1:
        label = jax.nn.one_hot(label, logits.shape[-1])
    return optax.smooth_labels(label, smoothing) if smoothing else label


def _is_of_pixels(label: Num[Array, "n ..."]) -> bool:
    return label.ndim > 1 and jnp.issubdtype(label.dtype, jnp.integer)


def _accuracy(
    logits: Float[Array, "n *hw classes"], label: Num[Array, "n ..."]
) -> Float[Array, ""]:
    """Returns how often the largest logit is that of the (largest) label."""
    whole = label.ndim == 1 or _is_of_pixels(label)
    classes = label if whole else jnp.argmax(label, axis=-1)
    counted = classes < logits.shape[-1]
    hits = counted & (jnp.argmax(logits, axis=-1) == classes)
    return jnp.sum(hits) / jnp.maximum(jnp.sum(counted), 1).astype(jnp.float32)


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
    logits, label, mask = _evaluate(model, state, batch)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    metrics = {
        "loss": Mean.of(losses, mask),
        "accuracy": Mean.of(jnp.argmax(logits, axis=-1) == label, mask),
    }
    return _summed(metrics, axis_name), logits


def eval_pixels(
    model: nn.Module,
    state: TrainState,
    batch: Batch,
    *,
    loss: Loss,
    ignore_index: int,
    axis_name: str | None = None,
) -> tuple[dict[str, Mean | ConfusionMatrix], Float[Array, "n h w classes"]]:
    """Measures a model of segmentation on the images that the mask lets through.

    Args:
      model, state, axis_name: as in `eval_step`.
      batch: "image" [n, h, w, c], integer "label" [n, h, w] and boolean "mask" [n].
      loss: (logits, label) -> [n].
      ignore_index: the label of pixels that do not count.

    Returns:
      The means "loss" (of images) and "accuracy" (of pixels) and the confusion matrix
      "mean_iou", to be added over batches; and the logits.
    """
    logits, label, mask = _evaluate(model, state, batch)
    predictions = jnp.argmax(logits, axis=-1)
    counted = mask[:, None, None] & (label != ignore_index)
    metrics = {
        "loss": Mean.of(loss(logits, label), mask),
        "accuracy": Mean.of(predictions == label, counted),
        "mean_iou": ConfusionMatrix.of(
            label, predictions, logits.shape[-1], mask, ignore_index
        ),
    }
    return _summed(metrics, axis_name), logits


def eval_objects(
    model: nn.Module,
    state: TrainState,
    batch: Batch,
    *,
    axis_name: str | None = None,
) -> tuple[dict[str, Mean], Any]:
    """Measures a detector on the images of a batch that its mask lets through.

    Args:
      model, state, axis_name: as in `eval_step`.
      batch: "image" [n, h, w, c], the objects as "label", and boolean "mask" [n].

    Returns:
      The mean "loss", to be added over batches; and "detections", with the "label" and
      the "mask" of the batch, so that all processes have them of all images.
    """
    variables = {"params": state.eval_params, "batch_stats": state.batch_stats}
    objects, sizes = objects_of(batch["label"])
    # What these two have in common is computed once.
    losses, _ = model.apply(variables, batch["image"], objects, sizes)
    detections, _ = model.apply(variables, batch["image"], None, sizes)
    metrics = {"loss": Mean.of(jnp.asarray(sum(losses.values())), batch["mask"])}
    outputs = {"detections": detections, "label": objects, "mask": batch["mask"]}
    return _summed(metrics, axis_name), outputs


def _evaluate(
    model: nn.Module, state: TrainState, batch: Batch
) -> tuple[Float[Array, "n *hw classes"], Num[Array, "n ..."], Bool[Array, " n"]]:
    """Returns a batch's logits, and its label and mask."""
    variables = {"params": state.eval_params, "batch_stats": state.batch_stats}
    logits, _ = model.apply(variables, batch["image"])
    return logits, batch["label"], batch["mask"]


def _summed(metrics: PyTree, axis_name: str | None) -> PyTree:
    return metrics if axis_name is None else jax.lax.psum(metrics, axis_name)
