"""The training loop: dispatches ahead, reads late, saves, and stops when asked to."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from cnnjax import errors
from cnnjax.train import interrupts, parallel
from cnnjax.train.checkpoint import Checkpointer
from cnnjax.train.log import RunLog
from cnnjax.train.state import TrainState


TrainStep = Callable[..., tuple[TrainState, dict[str, jax.Array]]]
EvalStep = Callable[..., tuple[dict[str, Any], Any]]


@dataclasses.dataclass
class EarlyStopping:
    """Ends a run whose score on the validation split no longer grows.

    Attributes:
      patience: after how many evaluations without a better one; 0 for never.
      best: the highest score so far.
      since: evaluations since then.
    """

    patience: int
    best: float = -1.0
    since: int = 0

    def observe(self, score: float) -> None:
        """Takes notice of an evaluation."""
        better = score > self.best
        self.best, self.since = (score, 0) if better else (self.best, self.since + 1)

    @property
    def over(self) -> bool:
        """Whether the run has to end."""
        return 0 < self.patience <= self.since


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
    stopping: EarlyStopping,
    score: str = "accuracy",
) -> TrainState:
    """Trains from `state.step` to `num_steps`; each epoch ends in a checkpoint.

    While the device works on a step, the host prepares the next batch and reads the
    metrics of the step before. The log gets the seconds that the host spent on each: on
    waiting for the batch, on dispatching the step, and on waiting for its metrics. The
    first of the three is near 0 as long as the pipeline keeps up; the first step, which
    compiles, has none.

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
      stopping: ends the run before `num_steps`.
      score: the metric of the evaluations that it looks at.

    Returns:
      The state after the last update, gathered and saved.

    Raises:
      UserError: if the loss or the gradient becomes infinite or NaN; the checkpoints
        from before stay.
      Interrupted: after SIGTERM or Ctrl-C, once the state is saved.
    """

    clock = time.perf_counter

    def report(
        step: int, metrics: dict[str, jax.Array], seconds: dict[str, float]
    ) -> None:
        begun = clock()
        numbers = {name: metric.item() for name, metric in metrics.items()}
        if seconds:
            seconds["wait_seconds"] = clock() - begun
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise diverged(step, name, number)
        numbers["learning_rate"] = float(rates[step - 1])
        log.step(step, numbers, seconds)

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
        first = step
        while step < num_steps and not stopping.over:
            asked = clock()
            batch = next(batches)
            given = clock()
            if strategy.shares_threads:
                jax.block_until_ready(state)
            state, metrics = train_step(state, strategy.shard(batch), key)
            seconds = {
                "input_seconds": given - asked,
                "dispatch_seconds": clock() - given,
            }
            step += 1
            if unread:
                report(*unread)
            unread = (step, metrics, seconds if step > first + 1 else {})
            ends_epoch = step % steps_per_epoch == 0 or step == num_steps
            if not ends_epoch and interrupt(step) is None:
                continue
            report(*unread)
            unread = None
            validation, gathered = None, strategy.gather(state)
            if ends_epoch:
                validation = evaluate(gathered)
                if not math.isfinite(validation["loss"]):
                    raise diverged(step, "validation loss", validation["loss"])
                log.epoch(step, validation)
                stopping.observe(validation[score])
            checkpointer.save(gathered, document(), validation)
            if (number := interrupt(step)) is not None:
                checkpointer.wait()
                raise interrupts.Interrupted(number)
        checkpointer.wait()
    return strategy.gather(state)


class LargestLogits:
    """Keeps of an evaluation the class with the largest logit of each image, or pixel.

    Whatever else keeps outputs has these two methods.
    """

    def __init__(self) -> None:
        self._classes: list[np.ndarray] = []

    def add(self, outputs: Any) -> None:
        """Takes what the evaluation step returns besides metrics: here logits.

        Args:
          outputs: [n, ..., classes].
        """
        self._classes.append(np.argmax(outputs, axis=-1))

    def finish(self, count: int) -> tuple[dict[str, Any], np.ndarray]:
        """Returns metrics that need all batches, none here; and what was kept.

        Args:
          count: of the images, without the last batch's padding.

        Returns:
          {} and the classes [count, ...].
        """
        return {}, np.concatenate(self._classes)[:count]


class Evaluation(NamedTuple):
    """What a split has been found to be.

    Attributes:
      metrics: those of the whole split, as `cnnjax.metrics` has them.
      predictions: what the collector has kept.
    """

    metrics: dict[str, Any]
    predictions: Any

    @property
    def numbers(self) -> dict[str, float]:
        """The metrics as a log has them."""
        return {name: metric.compute() for name, metric in self.metrics.items()}


def run_eval(
    eval_step: EvalStep,
    state: TrainState,
    batches: Iterable[Any],
    mesh: Mesh,
    count: int,
    collector: Callable[[], Any] = LargestLogits,
) -> Evaluation:
    """Goes through a split once.

    Args:
      eval_step: (state, batch) -> (metrics, outputs), compiled. The metrics can be
        added and have a method `compute`, as those of `cnnjax.metrics`.
      state: the state to evaluate.
      batches: as `cnnjax.data.eval_batches` yields them.
      mesh: the devices that share each batch.
      count: of the images, without the last batch's padding.
      collector: makes what keeps the outputs, with the methods of `LargestLogits`.
    """
    totals: dict[str, Any] = {}
    kept = collector()
    for batch in batches:
        metrics, outputs = eval_step(state, parallel.shard_batch(batch, mesh))
        totals = {k: totals[k] + m for k, m in metrics.items()} if totals else metrics
        kept.add(outputs)
    more, predictions = kept.finish(count)
    return Evaluation(totals | more, predictions)
