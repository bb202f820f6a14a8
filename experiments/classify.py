"""Trains a classifier on real images, to the end: accuracy, a table and pictures.

Claim: a ResNet-20 reads the handwriting of people it has never seen (scikit-learn's
digits, test split) better than scikit-learn's own support vector machine.

    python experiments/classify.py

Hardware, time and result: see the README's first table.
"""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

import classify_report
import flax.errors
import flax.linen as nn
import jax
import training

from cnnjax import cli, data, errors, models, train, weights
from cnnjax.recipes import PUBLISHED
from cnnjax.train import check_numbers


@dataclasses.dataclass(frozen=True)
class Config(training.TrainingConfig):
    """Options of a run. A run is a function of these, up to where it is stored."""

    preset: str = "default"
    """Where the other options start from: `default`; `best` for digits; `smoke` for a
    quick look; or a recipe of a paper: see `docs/training.md`."""
    dataset: str = "digits"
    """`digits`, or any prepared TFDS image classification set, e.g. `cifar10`."""

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
    # Chosen by `cross_validate.py` on these images, all of which it trains on then: its
    # validation accuracy is none.
    "best": Config(preset="best", image_size=16, train_split="train+validation"),
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
    training.join(config)
    sources = config.load(data.load)
    num_classes = len(sources[0].class_names)

    def create_model(axis_name: str | None) -> nn.Module:
        model = config.create_model(num_classes=num_classes, axis_name=axis_name)
        check_classifies(model, config.model)
        return model

    task = training.Task(
        kind="classify",
        sources=sources,
        create_model=create_model,
        eval_step=train.eval_step,
        report=classify_report.report,
        prepare=functools.partial(taught, config),
    )
    return training.run(config, task, start)


def check(config: Config) -> None:
    """Raises a UserError for a number out of its range."""
    config.check()
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
        return model, {}
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
    distillation = train.Distillation(
        answer,
        weight=config.teacher_weight,
        temperature=config.temperature,
        hint=config.hint or None,
        hint_steps=config.hint_epochs * steps_per_epoch,
    )
    return model, {"distillation": distillation}


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
