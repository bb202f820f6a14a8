"""Trains a classifier on real images, to the end: accuracy, a table and pictures.

Claim: a ResNet-20 reads the handwriting of people it has never seen (scikit-learn's
digits, test split) better than scikit-learn's own support vector machine.

    python experiments/classify.py

Hardware, time and result: see the README's first table.
"""

import contextlib
import dataclasses
import functools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import classify_report
import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import rich.console

from cnnjax import cli, cost, data, errors, models, train, weights
from cnnjax.recipes import PUBLISHED, Recipe
from cnnjax.train import RunOptions, check_numbers, parallel


@dataclasses.dataclass(frozen=True)
class Config(RunOptions, Recipe):
    """Options of a run. A run is a function of these, up to where it is stored."""

    preset: str = "default"
    """Where the other options start from: `default`; `best` for digits; `smoke` for a
    quick look; or a recipe of a paper: see `docs/training.md`."""

    dataset: str = "digits"
    """`digits`, or any prepared TFDS image classification set, e.g. `cifar10`."""
    data_dir: Path | None = None
    """Where prepared data sets live (default: `cnnjax` in the user's cache folder)."""
    train_split: str = "train"
    """What to train on, in TFDS's notation: `train`, `train[:90%]`, `train+test`."""
    validation_split: str = "validation"
    """What to evaluate after each epoch."""
    test_split: str = "test"
    """What to evaluate once, at the end."""

    teacher: Path | None = None
    """A `model.safetensors` of another run, from whose answers to learn, too."""
    teacher_weight: float = 1.0
    """How much the teacher's answers count beside the labels."""
    temperature: float = 4.0
    """What logits are divided by before student's and teacher's are compared."""
    hint: str = ""
    """An endpoint, e.g. `stage2`, that has to resemble the teacher's at first."""
    hint_epochs: int = 0
    """How many epochs follow the hint, before the labels."""


# The test split is looked at once, at the end; ImageNet's has no labels.
SPLITS = {
    "cifar10": ("train[:45000]", "train[45000:]", "test"),
    "imagenet2012": ("train", "validation", "validation"),
}


def published(name: str) -> Config:
    """Returns the options of a paper's recipe."""
    _, dataset, recipe = PUBLISHED[name]
    return Config(
        preset=name,
        dataset=dataset,
        **dict(
            zip(
                ("train_split", "validation_split", "test_split"),
                SPLITS[dataset],
                strict=True,
            )
        ),
        **vars(recipe),
    )


PRESETS = {
    "default": Config(),
    "best": Config(preset="best", image_size=16),  # Chosen by `cross_validate.py`.
    "smoke": Config(
        preset="smoke",
        train_split="train[:128]",
        validation_split="validation[:32]",
        test_split="test[:40]",
        image_size=8,
        epochs=2,
        batch_size=32,
        warmup_epochs=0.0,
    ),
} | {name: published(name) for name in PUBLISHED}


def main(config: Config) -> dict[str, Any]:
    """Trains, evaluates and draws; returns what `results.json` holds."""
    start = time.monotonic()

    # Whatever can be wrong with the request is found before anything is written.
    check(config)
    if config.coordinator:
        parallel.join(config.coordinator, config.num_processes, config.process_id)
    writes = parallel.is_first_process()
    console = rich.console.Console(highlight=False, soft_wrap=True, quiet=not writes)
    train_source, validation_source, test_source = (
        data.load(config.dataset, split, config.data_dir)
        for split in (config.train_split, config.validation_split, config.test_split)
    )
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
    model = config.create_model(
        num_classes=num_classes,
        axis_name=None if config.local_batch_norm else strategy.axis_name,
    )
    side, channels = config.image_size, train_source.image_shape[-1]
    image = jnp.zeros((1, side, side, channels))
    check_classifies(model, config.model)
    model, distillation = taught(config, model, image, steps_per_epoch)
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
            "classify",
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
        distillation=distillation,
        micro_batches=config.micro_batches,
    )
    student = config.create_model(num_classes=num_classes)
    eval_step = strategy.compile_evaluation(functools.partial(train.eval_step, student))

    def evaluate(source: data.ImageSource, state: train.TrainState):
        held_out = data.eval_batches(
            source,
            image_size=config.eval_size or side,
            crop=config.eval_crop,
            **batching,
        )
        return train.run_eval(eval_step, student_of(state), held_out, strategy.mesh)

    state = jax.jit(init, out_shardings=strategy.shardings(shapes))(image)
    stopping = train.EarlyStopping(config.patience)
    with contextlib.ExitStack() as stack:
        checkpointer = stack.enter_context(
            train.Checkpointer(run_dir / "checkpoints", keep=config.keep)
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
                evaluate=lambda state: evaluate(validation_source, state)[0],
                checkpointer=checkpointer,
                document=lambda: {
                    "config": settings,
                    "seconds": earlier + time.monotonic() - start,
                    "stopping": dataclasses.asdict(stopping),
                },
                log=log,
                strategy=strategy,
                stopping=stopping,
            )
        except train.Interrupted:
            console.print(f"saved; continue with\n{cli.resume_command(run_dir)}")
            raise
        if config.patience:
            console.print(f"back to step {checkpointer.best_step()}, the best")
            restored = checkpointer.restore(state, checkpointer.best_step())
            state = restored[0] if restored else state

    metrics, predictions = evaluate(test_source, state)
    speed = log.speed()
    finished = run_dir / "results.json"
    if not speed and finished.exists():  # A run that had been finished before.
        speed = json.loads(finished.read_text())["speed"]
    variables = parallel.replicate(student_of(state), strategy.mesh)
    results = {
        "test_accuracy": metrics["accuracy"],
        "test_loss": metrics["loss"],
        "test_images": len(test_source),
        "validation_accuracy": evaluate(validation_source, state)[0]["accuracy"],
        "seconds": earlier + time.monotonic() - start,
        "speed": speed,
        "utilisation": utilisation(student, image, config.dtype, speed),
        "seed": config.seed,
        "num_params": num_params,
        "num_steps": int(state.step),
        "params_sha256": train.fingerprint(variables.params),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": train.versions(),
        "config": settings,
    }
    if writes:
        save(config, variables, num_classes, run_dir / "model.safetensors")
        classify_report.draw(run_dir, test_source, predictions[: len(test_source)])
        train.write_json(run_dir / "results.json", results)
        console.print(classify_report.table(results, run_dir))
    return results


def check(config: Config) -> None:
    """Raises a UserError for a number out of its range."""
    config.check_recipe()
    config.check_run()
    counts = ("hint_epochs", "teacher_weight")
    check_numbers(config, "must not be negative", lambda x: x >= 0, counts)
    check_numbers(config, "must be positive", lambda x: x > 0, ("temperature",))
    if config.hint and config.teacher is None:
        raise errors.UserError("--hint needs a teacher: add --teacher")
    if bool(config.hint) != bool(config.hint_epochs):
        raise errors.UserError("--hint and --hint-epochs need each other")


def check_classifies(model: nn.Module, name: str) -> None:
    """Raises a UserError for networks that answer something else."""
    if not isinstance(model, models.Classifier):
        raise errors.UserError(f"{name} is a {type(model).__name__}, not a classifier")


def taught(config: Config, model: Any, image: jax.Array, steps_per_epoch: int) -> Any:
    """Returns the model, with a regressor for the hint, and what it has to learn."""
    if config.teacher is None:
        return model, None
    teacher, variables = weights.restore(config.teacher)
    check_classifies(teacher, str(config.teacher))

    def answer(images: jax.Array) -> Any:
        return teacher.apply(variables, images)

    kept = weights.preprocessing(config.model, str(config.teacher))
    if {*kept.mean, *kept.std} != {0.5}:
        raise errors.UserError(
            f"{config.teacher} wants images of mean {kept.mean} and deviation "
            f"{kept.std}; those of a run here are in [-1, 1]"
        )
    try:
        logits, endpoints = jax.eval_shape(answer, image)
    except flax.errors.ScopeParamShapeError as error:
        raise errors.UserError(
            f"{config.teacher} does not take images of shape {image.shape[1:]}"
        ) from error
    if logits.shape[-1] != model.num_classes:
        raise errors.UserError(
            f"{config.teacher} knows {logits.shape[-1]} classes, the data set has "
            f"{model.num_classes}"
        )
    if config.hint:
        if config.hint not in endpoints:
            raise errors.unknown("endpoint of the teacher", config.hint, endpoints)
        features = tuple(endpoints[config.hint].shape[1:])
        if len(features) != 3:
            raise errors.UserError(f"endpoint {config.hint} has no maps to resemble")
        model = train.Hinted(model, config.hint, features)
    return model, train.Distillation(
        answer,
        weight=config.teacher_weight,
        temperature=config.temperature,
        hint=config.hint or None,
        hint_steps=config.hint_epochs * steps_per_epoch,
    )


def utilisation(
    model: nn.Module, image: jax.Array, dtype: str, speed: dict[str, float]
) -> float | None:
    """Returns the network's products as a share of what the devices can do.

    Those of a step are three times those of its forward pass.
    """
    peak = cost.peak_here(dtype)
    if peak is None or not speed:
        return None
    macs = cost.analyze(model, image.shape).macs
    return 3 * 2 * macs * speed["images_per_second"] / peak


def student_of(state: train.TrainState) -> train.TrainState:
    """Returns the state of the network without a hint's regressor."""
    trees = {
        name: getattr(state, name) for name in ("params", "batch_stats", "ema_params")
    }
    bare = {name: tree.get("student", tree) for name, tree in trees.items()}
    return dataclasses.replace(state, opt_state={}, **bare)


def save(config: Config, state: train.TrainState, num_classes: int, path: Path) -> None:
    """Writes the network, its weights and how it wants its images, in one file."""
    half = (0.5, 0.5, 0.5)
    weights.save(
        path,
        config.model,
        {"params": state.eval_params, "batch_stats": state.batch_stats},
        preprocessing=weights.Preprocessing(
            config.eval_size or config.image_size, config.eval_crop, mean=half, std=half
        ),
        num_classes=num_classes,
        **config.options(),
    )


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
