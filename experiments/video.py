"""Trains a classifier of clips, and the controls that tell what it looks at.

Claim: a small ResNet that sees eight frames as channels of one image (early fusion)
tells which way digits drift at least 30 points better than one that sees one frame,
and loses that when the frames come in another order.

    python experiments/video.py
    python experiments/video.py --frames single
    python experiments/video.py --frames shuffled

Each run's table has, too, how the trained network does on the test clips when their
frames are shuffled. What came of it: `docs/segmentation.md`.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import classify_report
import flax.linen as nn
import numpy as np
import rich.table
import training

from cnnjax import cli, data, errors, models, train, video


@dataclasses.dataclass(frozen=True)
class Config(training.TrainingConfig):
    """Options of a run. A run is a function of these, up to where it is stored."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""
    dataset: str = "scenes/clips"
    """`scenes/clips` (which way do they drift?) or `scenes/counts` (how many?)."""
    fusion: Literal["early", "late", "slow"] = "early"
    """Where the network brings the frames together."""
    frames: Literal["ordered", "shuffled", "single"] = "ordered"
    """What it sees: the clip, its frames in an order of chance, or the middle one."""

    model: str = "resnet20_cifar"
    """A name from `cnnjax.list_models()`, of a classifier of images."""
    image_size: int = 32
    """Rows and columns of the frames fed to the network; others are resized."""
    rotation: float = 0.0
    """Augmentation: largest rotation, in degrees. 0 turns it off, as below."""
    shear: float = 0.0
    """Augmentation: largest horizontal offset per unit of height."""


PRESETS = {
    "default": Config(epochs=15),
    "smoke": Config(
        preset="smoke",
        train_split="train[:12]",
        validation_split="validation[:3]",
        test_split="test[:5]",
        image_size=16,
        epochs=1,
        batch_size=4,
        warmup_epochs=0.0,
    ),
}


@dataclasses.dataclass(frozen=True)
class Rearranged(Sequence[Any]):
    """Clips of which other frames, or the same in another order, are to be seen.

    Attributes:
      examples: what TFDS reads.
      frames: as in Config.
    """

    examples: Sequence[dict[str, Any]]
    frames: str

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: Any) -> Any:
        example = self.examples[index]
        clip = np.asarray(example["video"])
        if self.frames == "shuffled":
            # Of each clip in an order of its own, the same each time it is read.
            order = np.random.default_rng(index).permutation(len(clip))
        else:
            order = [len(clip) // 2]
        return {**example, "video": clip[order]}


def rearranged(source: data.ClipSource, frames: str) -> data.ClipSource:
    """Returns the clips as `frames` says."""
    if frames == "ordered":
        return source
    length = 1 if frames == "single" else source.image_shape[0]
    return dataclasses.replace(
        source,
        examples=Rearranged(source.examples, frames),
        image_shape=(length, *source.image_shape[1:]),
    )


def main(config: Config) -> dict[str, Any]:
    """Trains, evaluates and draws; returns what `results.json` holds."""
    start = time.monotonic()
    config.check()
    training.join(config)
    *rest, test_source = config.load(data.load_clips)
    training_source, validation_source = (rearranged(s, config.frames) for s in rest)
    num_frames, *_, channels = training_source.image_shape
    num_classes = len(training_source.class_names)

    def create_model(axis_name: str | None) -> nn.Module:
        model = config.create_model(num_classes=num_classes, axis_name=axis_name)
        if not isinstance(model, models.Classifier):
            raise errors.UserError(f"{config.model} is no classifier of images")
        return fused(config.fusion, model, num_frames)

    task = training.Task(
        kind="video",
        sources=(
            training_source,
            validation_source,
            rearranged(test_source, config.frames),
        ),
        create_model=create_model,
        eval_step=train.eval_step,
        report=report,
        image_shape=(num_frames, config.image_size, config.image_size, channels),
        controls={"shuffled": rearranged(test_source, "shuffled")}
        if config.frames == "ordered"
        else {},
        saved=False,
    )
    return training.run(config, task, start)


def fused(fusion: str, model: models.Classifier, num_frames: int) -> nn.Module:
    """Returns a network of clips.

    Args:
      fusion: as in Config.
      model: a classifier of images.
      num_frames: of a clip.
    """
    if fusion == "early":
        return video.EarlyFusion(model, num_frames)
    if fusion == "late":
        return video.LateFusion(model, num_frames)
    # Pairs of frames, then pairs of pairs, then what is left.
    slow = video.SlowFusion(model, windows=((2, 2), (2, 2), (num_frames // 4, 1)))
    if slow.frames != num_frames:
        raise errors.UserError(f"slow fusion takes 8, 12, … frames, not {num_frames}")
    return slow


def report(
    run_dir: Path,
    source: data.ClipSource,
    tested: train.Evaluation,
    results: dict[str, Any],
) -> rich.table.Table:
    """Draws the curves and the confusion matrix; returns what a run prints at last."""
    classify_report.draw_classes(run_dir, source, tested.predictions)
    scores = {"test accuracy": f"{results['test_accuracy']:.2%}"}
    if "shuffled_accuracy" in results:
        scores["with shuffled frames"] = f"{results['shuffled_accuracy']:.2%}"
    scores["validation accuracy"] = f"{results['validation_accuracy']:.2%}"
    return training.table(results, run_dir, scores)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
