"""The loop: evaluates, saves, stops when asked to, and refuses to go on with NaN."""

import dataclasses
import functools
import os
import signal
import time

import chex
import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rich.console

from cnnjax import errors, train
from cnnjax.train import interrupts, parallel


KEY = jax.random.key(0)
NUM_STEPS = 10


class Linear(nn.Module):
    """The smallest thing with the interface of a model."""

    @nn.compact
    def __call__(self, image, *, train=False):
        return nn.Dense(3)(image.reshape(len(image), -1)), {}


def make_batches(start_step):
    def example(index, rng):
        image = rng.normal(size=(2, 2, 1)).astype(np.float32)
        return {"image": image, "label": np.int32(index % 3)}

    stream = grain.MapDataset.range(30).seed(0).shuffle().repeat(10).random_map(example)
    return iter(stream.batch(4)[start_step:].to_iter_dataset())


@pytest.fixture
def run(tmp_path):
    """Returns a function that starts or resumes the run in the test's folder."""

    def fit(learning_rate=0.1, on_step=lambda step: None, evaluate=None, stopping=None):
        schedule = optax.constant_schedule(learning_rate)
        tx = train.create_optimizer("sgd", learning_rate=schedule)
        step = jax.jit(functools.partial(train.train_step, Linear(), tx))
        strategy = parallel.create_strategy("sharded")
        state = train.init_state(Linear(), tx, KEY, jnp.zeros((1, 2, 2, 1)))
        state = strategy.place(state)
        console = rich.console.Console(quiet=True)

        def train_step(state, batch, key):
            assert len(batch["image"].sharding.device_set) == 2
            on_step(int(state.step) + 1)
            return step(state, batch, key)

        with train.Checkpointer(tmp_path / "checkpoints", keep=9) as checkpointer:
            restored = checkpointer.restore(state)
            state = restored[0] if restored else state
            batches = make_batches(int(state.step))
            with train.RunLog(
                tmp_path,
                console=console,
                start_step=int(state.step),
                num_steps=NUM_STEPS,
                steps_per_epoch=4,
                batch_size=4,
            ) as log:
                return train.fit(
                    train_step,
                    state,
                    batches,
                    KEY,
                    num_steps=NUM_STEPS,
                    steps_per_epoch=4,
                    schedule=schedule,
                    evaluate=evaluate or (lambda state: {"loss": 1.0, "accuracy": 0.5}),
                    checkpointer=checkpointer,
                    document=lambda: {},
                    log=log,
                    strategy=strategy,
                    stopping=stopping or train.EarlyStopping(0),
                )

    return fit


def saved_steps(tmp_path):
    folder = tmp_path / "checkpoints"
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_evaluates_and_saves_after_each_epoch_and_at_the_end(run, tmp_path):
    evaluated = []

    def evaluate(state):
        evaluated.append(int(state.step))
        return {"loss": 1.0, "accuracy": 0.5}

    state = run(evaluate=evaluate)
    assert int(state.step) == NUM_STEPS
    assert evaluated == [4, 8, 10] == saved_steps(tmp_path)
    records = train.read_metrics(tmp_path)
    assert [r["step"] for r in records if r["split"] == "train"] == [4, 8, 10]
    assert run(on_step=pytest.fail).step == NUM_STEPS  # Nothing is left to do.


def test_the_log_says_what_the_host_waited_for(run, tmp_path):
    run(on_step=lambda step: time.sleep(0.02))
    first, *_, last = (r for r in train.read_metrics(tmp_path) if r["split"] == "train")
    for record in (first, last):
        assert record["dispatch_seconds"] >= 0.02
        assert 0 <= record["input_seconds"] < 1 and 0 <= record["wait_seconds"] < 1
        assert 0 < record["images_per_second"] <= 4 / 0.02


def test_a_step_waits_for_the_one_before_where_devices_share_threads(
    run, tmp_path, monkeypatch
):
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", waited.append)
    run()
    assert len(waited) == NUM_STEPS
    (tmp_path / "checkpoints").rename(tmp_path / "aside")
    monkeypatch.setattr(parallel.Strategy, "shares_threads", False)
    run()
    assert len(waited) == NUM_STEPS


def test_early_stopping(run, tmp_path):
    """After two evaluations that are no better; a resumed run does not go on."""
    accuracies = iter([0.5, 0.5, 0.5])
    stopping = train.EarlyStopping(1)
    state = run(
        evaluate=lambda state: {"loss": 1.0, "accuracy": next(accuracies)},
        stopping=stopping,
    )
    assert int(state.step) == 8 == saved_steps(tmp_path)[-1]
    assert stopping == train.EarlyStopping(1, best=0.5, since=1)
    again = train.EarlyStopping(**dataclasses.asdict(stopping))  # As JSON keeps it.
    assert int(run(on_step=pytest.fail, stopping=again).step) == 8


def test_early_stopping_counts_from_the_best():
    stopping = train.EarlyStopping(2)
    for accuracy, over in [(0.5, False), (0.4, False), (0.6, False), (0.6, False)]:
        stopping.observe(accuracy)
        assert stopping.over == over
    stopping.observe(0.1)
    assert stopping.over


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", [1, 3, 4, 10])
def test_a_signal_finishes_the_step_and_saves(run, tmp_path, number, at):
    def send(step):
        if step == at:
            os.kill(os.getpid(), number)

    with pytest.raises(train.Interrupted) as stopped:
        run(on_step=send)
    assert stopped.value.signal_number == number
    assert saved_steps(tmp_path)[-1] == at
    resumed = run()
    (tmp_path / "checkpoints").rename(tmp_path / "aside")
    chex.assert_trees_all_equal(jax.device_get(run()), jax.device_get(resumed))


@pytest.fixture
def usual():
    """Python's own handling of Ctrl-C, which processes in the background lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_does_not_wait(run, usual):
    def send(step):
        os.kill(os.getpid(), signal.SIGINT)
        while signal.getsignal(signal.SIGINT) != usual:  # Two at once count as one.
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(on_step=send)


def test_signals_are_as_before_afterwards(run):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with interrupts.caught():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_divergence_names_the_step_and_saves_nothing(run, tmp_path):
    with pytest.raises(
        errors.UserError, match=r"(loss|grad_norm) is (nan|inf) at step"
    ):
        run(learning_rate=1e38)
    assert saved_steps(tmp_path) == []


def test_divergence_after_a_good_epoch(run, tmp_path):
    def evaluate(state):
        return {"loss": float("nan") if state.step > 4 else 1.0, "accuracy": 0.5}

    message = "validation loss is nan at step 8; the last good checkpoint is of step 4"
    with pytest.raises(errors.UserError, match=message):
        run(evaluate=evaluate)
    assert saved_steps(tmp_path) == [4]


@pytest.mark.parametrize(
    "batch_size, message",
    [
        (31, "31 does not fit a data set of 30 images"),
        (0, "0 does not fit"),
        (-2, "-2 does not fit"),
        (3, "3 is not divisible by 2 devices"),
    ],
)
def test_batch_sizes_that_cannot_be(batch_size, message):
    with pytest.raises(errors.UserError, match=f"batch size {message}"):
        parallel.check_batch_size(batch_size, 30, 2)


def test_good_batch_sizes():
    for batch_size in (2, 30):
        parallel.check_batch_size(batch_size, 30, 2)
