"""One run of training, whatever is learnt: what `classify.py` and its kin share.

A script says what it learns (a `Task`); everything else is the same for all of them:
the strategy, the state, checkpoints, logs, interruption, and the results.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import rich.console
import rich.table

from cnnjax import cli, cost, data, errors, train, weights
from cnnjax.recipes import Recipe
from cnnjax.train import RunOptions, parallel
from cnnjax.trees import few


@dataclasses.dataclass(frozen=True)
class TrainingConfig(RunOptions, Recipe):
    """What the options of every script have."""

    preset: str = "default"
    """Where the other options start from."""
    dataset: str = ""
    """The name of a data set."""
    data_dir: Path | None = None
    """Where prepared data sets live (default: `cnnjax` in the user's cache folder)."""
    train_split: str = "train"
    """What to train on, in TFDS's notation: `train`, `train[:90%]`, `train+test`."""
    validation_split: str = "validation"
    """What to evaluate after each epoch."""
    test_split: str = "test"
    """What to evaluate once, at the end."""

    def check(self) -> None:
        """Raises a UserError for a number out of its range."""
        self.check_recipe()
        self.check_run()

    def check_dense(self, what: str) -> None:
        """Raises a UserError for what labels other than classes of images lack.

        Args:
          what: what is labelled, e.g. "pixels".
        """
        for name in ("label_smoothing", "mixup", "cutmix", "rand_augment", "erasing"):
            if getattr(self, name):
                option = f"--{name.replace('_', '-')}"
                kinds = f"classes of images, not of {what}"
                raise errors.UserError(f"{option} is for {kinds}")

    def load(self, load: Callable[..., Any]) -> tuple[Any, Any, Any]:
        """Returns the sources to train on, to validate with and to test with.

        Args:
          load: (name, split, data_dir) -> source, e.g. `cnnjax.data.load`.
        """
        splits = (self.train_split, self.validation_split, self.test_split)
        train, validation, test = (
            load(self.dataset, split, self.data_dir) for split in splits
        )
        for other in (validation, test):
            pairs = itertools.zip_longest(train.class_names, other.class_names)
            if wrong := [f"{i}: {a} / {b}" for i, (a, b) in enumerate(pairs) if a != b]:
                raise errors.UserError(
                    f"{train.name} and {other.name} have other classes: {few(wrong)}"
                )
        return train, validation, test


def alone(model: nn.Module, image: jax.Array, steps_per_epoch: int) -> Any:
    """Returns the model as it is, which learns from the labels alone."""
    del image, steps_per_epoch
    return model, {}


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learnt.

    Attributes:
      kind: the name of the script, and of the folders of its runs.
      sources: to train on, to validate with, to test with.
      create_model: (axis_name) -> the network; the axis is None for one device's.
      eval_step: (model, state, batch) -> (metrics, logits), with an `axis_name`.
      report: (run_dir, source, evaluation, results) -> what to print at last. It draws
        pictures into the folder, and may add to the results.
      score: the metric that says which checkpoint is the best.
      image_shape: of what the network takes (default: square images with the channels
        of the source's).
      prepare: (model, image, steps_per_epoch) -> the model to be trained, and more
        options of the step.
      controls: what else to measure on at the end, by name: the results have its score.
      saved: whether the network is one by name, so that a file can hold it.
      collector: makes what keeps the outputs of an evaluation.
      told: what else the network is called with to learn from an image, as shapes.
    """

    kind: str
    sources: tuple[data.Source, data.Source, data.Source]
    create_model: Callable[[str | None], nn.Module]
    eval_step: Callable[..., Any]
    report: Callable[..., Any]
    score: str = "accuracy"
    image_shape: tuple[int, ...] | None = None
    prepare: Callable[..., tuple[nn.Module, dict[str, Any]]] = alone
    controls: Mapping[str, data.Source] = dataclasses.field(default_factory=dict)
    saved: bool = True
    collector: Callable[[], Any] = train.LargestLogits
    told: tuple[Any, ...] = ()


def run(config: TrainingConfig, task: Task, start: float) -> dict[str, Any]:
    """Trains, evaluates and draws; returns what `results.json` holds.

    Args:
      config: the options, which have been checked.
      task: what is learnt.
      start: when the script began, by `time.monotonic`.
    """
    writes = parallel.is_first_process()
    console = rich.console.Console(highlight=False, soft_wrap=True, quiet=not writes)
    train_source, validation_source, test_source = task.sources
    strategy = parallel.create_strategy(config.parallel)
    parallel.check_batch_size(
        config.batch_size,
        len(train_source),
        strategy.mesh.size,
        config.micro_batches,
    )
    steps_per_epoch = len(train_source) // config.batch_size
    num_steps = config.epochs * steps_per_epoch
    num_classes = len(train_source.class_names)
    side = config.image_size
    shape = task.image_shape or (side, side, train_source.image_shape[-1])
    image = jnp.zeros((1, *shape))
    axis_name = None if config.local_batch_norm else strategy.axis_name
    model, options = task.prepare(task.create_model(axis_name), image, steps_per_epoch)
    schedule = config.create_schedule(steps_per_epoch)
    tx = config.create_optimizer(schedule)
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    init = functools.partial(
        train.init_state, model, tx, init_key, **config.init_options()
    )
    shapes = jax.eval_shape(init, image)
    num_params = sum(p.size for p in jax.tree.leaves(shapes.params))
    state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))
    settings = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    if writes:
        run_dir = train.open_run(
            task.kind,
            settings,
            run_dir=config.run_dir,
            resume=config.resume,
            # The kept, the best and the one being written; then logs and pictures.
            needed_bytes=(config.keep + 2) * state_bytes + 2**24,
        )
    else:
        run_dir = Path(str(config.run_dir))
    parallel.wait_for_all("the run's folder is open")
    console.print(f"{config.model}: {num_params:,} parameters, run folder {run_dir}")

    batching: dict[str, int] = {
        "batch_size": config.batch_size,
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    train_step = config.create_step(
        model,
        tx,
        num_classes=num_classes,
        axis_name=strategy.axis_name,
        micro_batches=config.micro_batches,
        **options,
    )
    student = task.create_model(None)
    eval_step = strategy.compile_evaluation(functools.partial(task.eval_step, student))

    def evaluate(source: data.Source, state: train.TrainState) -> train.Evaluation:
        held_out = data.eval_batches(
            source,
            image_size=config.eval_size or side,
            crop=config.eval_crop,
            **batching,
        )
        return train.run_eval(
            eval_step,
            student_of(state),
            held_out,
            strategy.mesh,
            len(source),
            task.collector,
        )

    state = jax.jit(init, out_shardings=strategy.shardings(shapes))(image)
    stopping = train.EarlyStopping(config.patience)
    with contextlib.ExitStack() as stack:
        checkpointer = stack.enter_context(
            train.Checkpointer(
                run_dir / "checkpoints", keep=config.keep, score=task.score
            )
        )
        earlier = 0.0
        if restored := checkpointer.restore(state):
            state, document = restored
            del restored  # Large, and in the devices' memory.
            earlier = document["seconds"]
            stopping = train.EarlyStopping(**document["stopping"])
            done = int(state.step) == num_steps or stopping.over
            says = "finished" if done else "continues"
            console.print(f"the run {says} at step {int(state.step)} of {num_steps}")
        elif config.resume:
            console.print("no checkpoint yet: the run starts from the beginning")
        on_bytes, on_floats = config.augmentation()
        batches = data.train_batches(
            train_source,
            image_size=side,
            seed=config.seed,
            start_step=int(state.step),
            augment=on_floats,
            augment_bytes=on_bytes,
            **batching,
        )
        first_step = int(state.step)
        state = strategy.place(state)
        step = stack.enter_context(
            train.profiled(
                strategy.compile(train_step, state),
                run_dir / "profile",
                skipped=min(10, max(0, num_steps - first_step - config.profile)),
                count=config.profile if writes else 0,
            )
        )
        log_dir = run_dir
        if not writes:  # The others' logs go where nobody looks.
            log_dir = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context(
            train.RunLog(
                log_dir,
                console=console,
                start_step=first_step,
                num_steps=num_steps,
                steps_per_epoch=steps_per_epoch,
                batch_size=config.batch_size,
            )
        )
        try:
            state = train.fit(
                step,
                state,
                batches,
                step_key,
                num_steps=num_steps,
                steps_per_epoch=steps_per_epoch,
                schedule=schedule,
                evaluate=lambda state: evaluate(validation_source, state).numbers,
                checkpointer=checkpointer,
                document=lambda: {
                    "config": settings,
                    "seconds": earlier + time.monotonic() - start,
                    "stopping": dataclasses.asdict(stopping),
                },
                log=log,
                strategy=strategy,
                stopping=stopping,
                score=task.score,
            )
        except train.Interrupted:
            console.print(f"saved; continue with\n{cli.resume_command(run_dir)}")
            raise
        if config.patience:
            console.print(f"back to step {checkpointer.best_step()}, the best")
            restored = checkpointer.restore(state, checkpointer.best_step())
            state = restored[0] if restored else state

    tested = evaluate(test_source, state)
    speed = log.speed()
    finished = run_dir / "results.json"
    if not speed and finished.exists():  # A run that had been finished before.
        speed = json.loads(finished.read_text())["speed"]
    variables = parallel.replicate(student_of(state), strategy.mesh)
    macs = cost.analyze(student, image, *task.told).macs
    results = {
        **{f"test_{name}": value for name, value in tested.numbers.items()},
        "test_images": len(test_source),
        **{
            f"{name}_{task.score}": evaluate(source, state).numbers[task.score]
            for name, source in {
                "validation": validation_source,
                **task.controls,
            }.items()
        },
        "seconds": earlier + time.monotonic() - start,
        "speed": speed,
        "utilisation": utilisation(macs, config.dtype, speed),
        "seed": config.seed,
        "macs": macs,
        "num_params": num_params,
        "num_steps": int(state.step),
        "params_sha256": train.fingerprint(variables.params),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": train.versions(),
        "config": settings,
    }
    if writes:
        if task.saved:
            names = train_source.class_names
            save(config, variables, names, run_dir / "model.safetensors")
        said = task.report(run_dir, test_source, tested, results)
        train.write_json(run_dir / "results.json", results)
        console.print(said)
    return results


def join(config: RunOptions) -> None:
    """Joins the other processes of the run, if there are any."""
    if config.coordinator:
        parallel.join(config.coordinator, config.num_processes, config.process_id)


def utilisation(macs: int, dtype: str, speed: dict[str, float]) -> float | None:
    """Returns the network's products as a share of what the devices can do.

    Those of a step are three times those of its forward pass, `macs` of an image.
    """
    peak = cost.peak_here(dtype)
    if peak is None or not speed:
        return None
    return 3 * 2 * macs * speed["images_per_second"] / peak


def student_of(state: train.TrainState) -> train.TrainState:
    """Returns the state of the network without a hint's regressor."""
    trees = {
        name: getattr(state, name) for name in ("params", "batch_stats", "ema_params")
    }
    bare = {name: tree.get("student", tree) for name, tree in trees.items()}
    return dataclasses.replace(state, opt_state={}, **bare)


def save(
    config: TrainingConfig,
    state: train.TrainState,
    class_names: Any,
    path: Path,
) -> None:
    """Writes the network, its weights and how it wants its images, in one file."""
    half = (0.5, 0.5, 0.5)
    weights.save(
        path,
        config.model,
        {"params": state.eval_params, "batch_stats": state.batch_stats},
        preprocessing=weights.Preprocessing(
            config.eval_size or config.image_size, config.eval_crop, mean=half, std=half
        ),
        class_names=[*class_names],
        num_classes=len(class_names),
        **config.options(),
    )


def speed_line(results: dict[str, Any]) -> str:
    """Says how fast the training was, and where the host's time went."""
    speed = dict(results["speed"])
    if not speed:
        return "-"
    line = f"{speed.pop('images_per_second'):.0f} images/s"
    if results["utilisation"] is not None:
        line += f", {results['utilisation']:.0%} of the peak"
    shares = {name: seconds / sum(speed.values()) for name, seconds in speed.items()}
    parts = (f"{name.split('_')[0]} {share:.0%}" for name, share in shares.items())
    return f"{line}; {', '.join(parts)}"


def table(
    results: dict[str, Any], run_dir: Path, scores: dict[str, str]
) -> rich.table.Table:
    """Returns the last thing that a run prints: its scores, and what all runs have."""
    rows = scores | {
        "parameters": f"{results['num_params']:,}",
        "time": f"{results['seconds']:.0f} s",
        "speed": speed_line(results),
        "results and pictures": str(run_dir),
    }
    table = rich.table.Table(title=results["config"]["model"], show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table
