"""The training loop: dispatches ahead, reads late, saves, and stops when asked to."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from cnnjax import errors
from cnnjax.metrics import Mean
from cnnjax.train import interrupts, parallel
from cnnjax.train.checkpoint import Checkpointer
from cnnjax.train.log import RunLog
from cnnjax.train.state import TrainState


TrainStep = Callable[..., tuple[TrainState, dict[str, jax.Array]]]
EvalStep = Callable[..., tuple[dict[str, Mean], jax.Array]]


def fit(
    train_step: TrainStep,
    state: TrainState,
    batches: Iterator[Any],
    key: jax.Array,
    *,
    num_steps: int,
    steps_per_epoch: int,
    schedule: optax.Schedule,
    evaluate: Callable[[TrainState], dict[str, float]],
    checkpointer: Checkpointer,
    document: Callable[[], dict[str, Any]],
    log: RunLog,
    strategy: parallel.Strategy,
) -> TrainState:
    """Trains from `state.step` to `num_steps`; each epoch ends in a checkpoint.

    While the device works on a step, the host prepares the next batch and reads the
    metrics of the step before.

    Args:
      train_step: (state, batch, key) -> (state, metrics), compiled by the strategy.
      state: where to start, placed by the strategy.
      batches: those from the state's step on.
      key: the run's key; the step folds its number into it.
      num_steps: updates in the whole run.
      steps_per_epoch: updates between evaluations.
      schedule: the learning rate of each step, for the log.
      evaluate: the metrics of a state on the validation split.
      checkpointer: saves the state.
      document: what JSON is saved with a checkpoint.
      log: shows and writes the metrics.
      strategy: how devices share each batch.

    Returns:
      The state after `num_steps` updates, gathered and saved.

    Raises:
      UserError: if the loss or the gradient becomes infinite or NaN; the checkpoints
        from before stay.
      Interrupted: after SIGTERM or Ctrl-C, once the state is saved.
    """

    def report(step: int, metrics: dict[str, jax.Array]) -> None:
        numbers = {name: metric.item() for name, metric in metrics.items()}
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise diverged(step, name, number)
        numbers["learning_rate"] = float(rates[step - 1])
        log.step(step, numbers)

    def diverged(step: int, name: str, number: float) -> errors.UserError:
        last = checkpointer.latest_step()
        return errors.UserError(
            f"{name} is {number} at step {step}; the last good checkpoint is of "
            f"step {last}. Try a lower learning rate or a longer warm-up"
        )

    unread = None
    with interrupts.caught() as interrupt:
        rates = np.asarray(jax.vmap(schedule)(jnp.arange(num_steps)))
        step = int(strategy.gather(state).step)
        while step < num_steps:
            batch = strategy.shard(next(batches))
            state, metrics = train_step(state, batch, key)
            step += 1
            if unread:
                report(*unread)
            unread = (step, metrics)
            ends_epoch = step % steps_per_epoch == 0 or step == num_steps
            if not ends_epoch and interrupt() is None:
                continue
            report(*unread)
            unread = None
            validation, gathered = None, strategy.gather(state)
            if ends_epoch:
                validation = evaluate(gathered)
                if not math.isfinite(validation["loss"]):
                    raise diverged(step, "validation loss", validation["loss"])
                log.epoch(step, validation)
            checkpointer.save(gathered, document(), validation)
            if (number := interrupt()) is not None:
                checkpointer.wait()
                raise interrupts.Interrupted(number)
        checkpointer.wait()
    return strategy.gather(state)


def run_eval(
    eval_step: EvalStep, state: TrainState, batches: Iterable[Any], mesh: Mesh
) -> tuple[dict[str, float], list[jax.Array]]:
    """Goes through a split once.

    Args:
      eval_step: (state, batch) -> (metrics, logits), compiled.
      state: the state to evaluate.
      batches: as `cnnjax.data.eval_batches` yields them.
      mesh: the devices that share each batch.

    Returns:
      The metrics of the whole split; and the logits of each batch, padding included.
    """
    totals: dict[str, Mean] = {}
    logits = []
    for batch in batches:
        metrics, batch_logits = eval_step(state, parallel.shard_batch(batch, mesh))
        totals = {k: totals[k] + m for k, m in metrics.items()} if totals else metrics
        logits.append(batch_logits)
    return {name: mean.compute() for name, mean in totals.items()}, logits
