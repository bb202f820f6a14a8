"""Trains a network of segmentation on scenes of digits: mean IoU, table and pictures.

Claim: a U-Net with 16 base channels finds the pixels of each of ten digits, which lie
on textures and hide parts of each other, with a mean IoU of 0.85 on digits that it has
never seen, after at most ten minutes on two cores.

    python experiments/segment.py

What came of it, and of other losses and networks: `docs/segmentation.md`.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
import rich.table
import training
from jaxtyping import Array

from cnnjax import cli, data, errors, losses, segmentation, train


@dataclasses.dataclass(frozen=True)
class Config(training.TrainingConfig):
    """Options of a run. A run is a function of these, up to where it is stored."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""
    dataset: str = "scenes"
    """`scenes`, `scenes/sparse`, `scenes/large`, or any prepared TFDS set with masks,
    e.g. `oxford_iiit_pet`."""

    model: str = "unet_padded_16"
    """A name from `cnnjax.list_models()`, of a network of segmentation."""
    skips: bool = True
    """Whether a U-Net's expanding path sees the maps of the contracting one."""
    deformable_blocks: int = 0
    """How many of a ResNet's last blocks have deformable convolutions."""
    image_size: int = 64
    """Side of the images fed to the network, in pixels; others are resized."""
    loss: str = "cross_entropy+dice"
    """`cross_entropy`, `focal`, `dice`, `jaccard`, `tversky`, or a sum of them."""

    epochs: int = 9
    """How often to go through the training images."""
    batch_size: int = 8
    """Images per update, over all devices."""
    learning_rate: float = 0.5
    """The highest learning rate, reached after the warm-up."""
    weight_decay: float = 5e-4
    """With `sgd`, a step shrinks kernels by this times the learning rate."""

    def options(self) -> dict[str, Any]:
        """Returns the options of the network that its weights do not show."""
        more: dict[str, Any] = {} if self.skips else {"skips": False}
        if self.deformable_blocks:
            more["deformable_blocks"] = self.deformable_blocks
        return super().options() | more

    def create_loss(self, num_classes: int) -> Callable[..., Array]:
        """Returns (logits [n, h, w, classes], labels [n, h, w]) -> losses [n]."""
        return losses.create(
            self.loss, num_classes=num_classes, ignore_index=data.IGNORE_LABEL
        )


PRESETS = {
    "default": Config(),
    "smoke": Config(
        preset="smoke",
        train_split="train[:12]",
        validation_split="validation[:3]",
        test_split="test[:5]",
        image_size=32,
        epochs=1,
        batch_size=4,
        learning_rate=0.01,
        warmup_epochs=0.0,
    ),
}


def main(config: Config) -> dict[str, Any]:
    """Trains, evaluates and draws; returns what `results.json` holds."""
    start = time.monotonic()
    # Whatever can be wrong with the request is found before anything is written.
    check(config)
    training.join(config)
    sources = config.load(data.load_segmentation)
    num_classes = len(sources[0].class_names)
    loss = config.create_loss(num_classes)

    def create_model(axis_name: str | None) -> nn.Module:
        model = config.create_model(num_classes=num_classes, axis_name=axis_name)
        if not isinstance(model, segmentation.Segmenter):
            kind = type(model).__name__
            raise errors.UserError(f"{config.model} is a {kind}, it labels no pixels")
        if model.margin:
            raise errors.UserError(
                f"{config.model} labels only the middle of images; train unet_padded"
            )
        return model

    task = training.Task(
        kind="segment",
        sources=sources,
        create_model=create_model,
        eval_step=functools.partial(
            train.eval_pixels, loss=loss, ignore_index=data.IGNORE_LABEL
        ),
        report=functools.partial(report, config),
        score="mean_iou",
    )
    return training.run(config, task, start)


def check(config: Config) -> None:
    """Raises a UserError for a number out of its range, or what pixels do not have."""
    config.check()
    config.check_dense("pixels")
    train.check_numbers(
        config, "must not be negative", lambda x: x >= 0, ("deformable_blocks",)
    )


def report(
    config: Config,
    run_dir: Path,
    source: data.SegmentationSource,
    tested: train.Evaluation,
    results: dict[str, Any],
) -> rich.table.Table:
    """Draws the curves and some images; returns the last thing that a run prints."""
    from cnnjax import plots  # Matplotlib takes a second to load.

    names, matrix = source.class_names, tested.metrics["mean_iou"]
    results["test_iou"] = dict(zip(names, matrix.iou.tolist(), strict=True))
    results["test_dice"] = float(np.nanmean(matrix.dice))
    side = config.eval_size or config.image_size
    batches = data.eval_batches(
        source, batch_size=10, image_size=side, crop=config.eval_crop
    )
    shown = next(iter(batches))
    real = shown["mask"]
    plots.learning_curves(run_dir / "curves.png", train.read_metrics(run_dir))
    plots.comparison(
        run_dir / "predictions.png",
        [*(127.5 * (shown["image"][real] + 1)).astype(np.uint8)],
        [*shown["label"][real]],
        [*tested.predictions[: real.sum()]],
        len(names),
        data.IGNORE_LABEL,
    )
    scores = {
        "test mean IoU": f"{results['test_mean_iou']:.4f}",
        "test pixel accuracy": f"{results['test_accuracy']:.2%}",
        "test Dice": f"{results['test_dice']:.4f}",
        "test IoU by class": ", ".join(
            f"{name} {iou:.2f}" for name, iou in results["test_iou"].items()
        ),
        "validation mean IoU": f"{results['validation_mean_iou']:.4f}",
    }
    return training.table(results, run_dir, scores)


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
