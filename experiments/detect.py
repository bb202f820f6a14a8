"""Trains a detector on scenes of digits: mean average precision, table and pictures.

Claim: a RetinaNet on ResNet-18 finds each of ten digits, which lie on textures and hide
parts of each other, with a mean average precision of 0.80 at an IoU of 0.5 on digits
that it has never seen, after at most fifteen minutes on two cores; and a Faster R-CNN.

    python experiments/detect.py
    python experiments/detect.py --model fasterrcnn_resnet18_fpn_small

What came of it, and of other losses and networks: `docs/detection.md`.
"""

import dataclasses
import functools
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import rich.table
import training
from jaxtyping import Array

import cnnjax
from cnnjax import cli, data, detection, errors, losses, metrics, train


# How a RetinaNet is told which class is at an anchor. Cross-entropy is the focal loss
# that weighs nothing.
LOSSES = {
    "focal": losses.sigmoid_focal,
    "cross_entropy": functools.partial(losses.sigmoid_focal, alpha=None, gamma=0.0),
}


SHOWN = 12  # Images in a picture of detections,
SURE = 0.5  # of which those with such a score are drawn.


@dataclasses.dataclass(frozen=True)
class Config(training.TrainingConfig):
    """Options of a run. A run is a function of these, up to where it is stored."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""
    dataset: str = "scenes"
    """`scenes`, `scenes/sparse`, `scenes/large`, any prepared TFDS set with boxes, e.g.
    `voc/2007`, or the path of a folder in COCO's format."""
    max_objects: int | None = None
    """How many objects an image may have; None for as many as the fullest one."""
    leave_out: bool = False
    """Leaves the smallest objects of fuller images out, and says how many."""

    model: str = "retinanet_resnet18_fpn_small"
    """A name from `cnnjax.list_models()`, of a detector."""
    deformable_blocks: int = 0
    """How many of a ResNet's last blocks have deformable convolutions."""
    image_size: int = 64
    """Side of the images fed to the network, in pixels; others are resized."""
    loss: str = "focal"
    """Of a RetinaNet's classes: `focal` or `cross_entropy`."""

    epochs: int = 12
    """How often to go through the training images."""
    batch_size: int = 16
    """Images per update, over all devices."""
    optimizer: str = "adamw"
    """As in every recipe; see `classify.py`."""
    learning_rate: float = 1e-3
    """The highest learning rate, reached after the warm-up."""
    warmup_epochs: float = 0.5
    """Epochs during which the learning rate grows from 0."""
    weight_decay: float = 1e-2
    """Decay of the kernels."""
    clip_norm: float = 5.0
    """Longer gradients are shortened to this norm; 0 leaves them alone."""
    rotation: float = 0.0
    """Augmentation: largest rotation, in degrees; boxes grow with it."""
    scale: float = 0.15
    """Augmentation: largest relative change of size."""
    shear: float = 0.0
    """Augmentation: largest horizontal offset per unit of height."""

    def options(self) -> dict[str, Any]:
        """Returns the options of the network that its weights do not show."""
        blocks = self.deformable_blocks
        more = {"deformable_blocks": blocks} if blocks else {}
        return super().options() | more

    def create_loss(self, num_classes: int) -> Callable[..., Array]:
        """Returns (logits, targets) -> losses of a RetinaNet's logits."""
        del num_classes
        return LOSSES[self.loss]


PRESETS = {
    "default": Config(),
    "smoke": Config(
        preset="smoke",
        train_split="train[:12]",
        validation_split="validation[:3]",
        test_split="test[:5]",
        epochs=1,
        batch_size=4,
        warmup_epochs=0.0,
    ),
}


def main(config: Config) -> dict[str, Any]:
    """Trains, evaluates and draws; returns what `results.json` holds."""
    start = time.monotonic()
    # Whatever can be wrong with the request is found before anything is written.
    check(config)
    training.join(config)
    sources = load(config)
    num_classes = len(sources[0].class_names)
    eval_side = config.eval_size or config.image_size
    sides = {eval_side, config.image_size}
    anchors = {side: anchors_of(config, num_classes, side) for side in sides}

    def create_model(axis_name: str | None) -> nn.Module:
        model = config.create_model(num_classes=num_classes, axis_name=axis_name)
        if isinstance(model, detection.RetinaNet):
            return model.clone(classification_loss=config.create_loss(num_classes))
        return model

    task = training.Task(
        kind="detect",
        sources=sources,
        create_model=create_model,
        eval_step=train.eval_objects,
        report=functools.partial(report, anchors[eval_side]),
        score="map50",
        collector=functools.partial(Collected, num_classes),
        told=(an_object(config, sources[0].masks),),
    )
    return training.run(config, task, start)


def an_object(config: Config, masks: bool) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns what a network is told of an image with one object, as shapes."""
    side = config.image_size
    shapes = {
        "boxes_xyxy": jax.ShapeDtypeStruct((1, 1, 4), jnp.float32),
        "labels": jax.ShapeDtypeStruct((1, 1), jnp.int32),
        "valid": jax.ShapeDtypeStruct((1, 1), bool),
    }
    more = {"masks": jax.ShapeDtypeStruct((1, 1, side, side), bool)} if masks else {}
    return shapes | more


def load(config: Config) -> tuple[Any, Any, Any]:
    """Returns the sources, and says how many objects they leave out."""
    open_split = functools.partial(
        data.load_detection,
        max_objects=config.max_objects,
        leave_out=config.leave_out,
        masks=isinstance(cnnjax.create(config.model), detection.MaskRCNN),
    )
    sources = config.load(open_split)
    for source in sources:
        objects, images = source.left_out
        if objects:
            print(f"{source.name}: {objects} objects of {images} images are left out")
    return sources


class Collected:
    """Keeps detections and objects, and computes their mean average precision."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._results = metrics.DetectionResults()

    def add(self, outputs: Any) -> None:
        """Takes what `train.eval_objects` returns."""
        found, label = outputs["detections"], outputs["label"]
        if found.masks is not None:
            masks, boxes = map(np.asarray, (found.masks, found.boxes_xyxy))
            size = np.shape(label["masks"])[2:]
            pasted = [
                detection.paste_masks(*one, size)
                for one in zip(masks, boxes, strict=True)
            ]
            found = dataclasses.replace(found, masks=np.stack(pasted))
        self._results.add(found, label, outputs["mask"])

    def finish(self, count: int) -> tuple[dict[str, Any], metrics.DetectionResults]:
        """Returns `map50`, by the area under the curve; and all that was found."""
        assert len(self._results) == count
        average = metrics.voc_average_precision(self._results, self._num_classes)
        return {"map50": average}, self._results


def check(config: Config) -> None:
    """Raises a UserError for a number out of its range, or what boxes do not have."""
    config.check()
    config.check_dense("boxes")
    if config.eval_crop != 1:
        raise errors.UserError("images with objects are evaluated as a whole")
    train.check_numbers(
        config, "must not be negative", lambda x: x >= 0, ("deformable_blocks",)
    )
    if config.leave_out and config.max_objects is None:
        raise errors.UserError("--leave-out needs --max-objects, beyond which to do so")
    if importlib.util.find_spec("pycocotools") is None:
        raise errors.UserError("COCO's figures need more: pip install 'cnnjax[coco]'")
    model = cnnjax.create(config.model)
    if not isinstance(model, detection.Detector):
        kind = type(model).__name__
        raise errors.UserError(f"{config.model} is a {kind}, it finds no objects")
    if config.loss not in LOSSES:
        raise errors.unknown("loss", config.loss, LOSSES)
    if config.loss != "focal" and not isinstance(model, detection.RetinaNet):
        raise errors.UserError(f"--loss means nothing to {config.model}")


def report(
    anchors: dict[str, np.ndarray],
    run_dir: Path,
    source: data.DetectionSource,
    tested: train.Evaluation,
    results: dict[str, Any],
) -> rich.table.Table:
    """Draws curves and some images; returns the last thing that a run prints."""
    from cnnjax import plots  # Matplotlib takes a second to load.

    names, average = source.class_names, tested.metrics["map50"]
    of_classes = zip(names, average.per_class.tolist(), strict=True)
    results["test_ap50"] = {name: ap for name, ap in of_classes if not np.isnan(ap)}
    coco = metrics.coco_average_precision(tested.predictions, len(names))
    results["test_coco"] = figures(coco)
    plots.learning_curves(run_dir / "curves.png", train.read_metrics(run_dir))
    known = [k for k, ap in enumerate(average.per_class) if not np.isnan(ap)]
    plots.precision_recall(
        run_dir / "precision_recall.png",
        [(average.curves[k].recall, average.curves[k].precision) for k in known],
        [names[k] for k in known],
    )
    shown = tested.predictions.images[:SHOWN]
    sure = [image.scores >= SURE for image in shown]
    plots.hits_and_misses(
        run_dir / "detections.png",
        [source[i]["image"] for i in range(len(shown))],
        [
            plots.Objects(
                image.objects.boxes_xyxy, image.objects.labels, ignored=image.ignored
            )
            for image in shown
        ],
        [
            plots.Objects(
                image.detections.boxes_xyxy[rows],
                image.detections.labels[rows],
                image.scores[rows],
            )
            for image, rows in zip(shown, sure, strict=True)
        ],
        names,
    )
    if anchors:
        image, objects = source[0]["image"], shown[0].objects
        longer = max(image.shape[:2])
        groups = {name: longer * boxes for name, boxes in anchors.items()}
        plots.anchors(run_dir / "anchors.png", image, groups, objects.boxes_xyxy)
    scores = {
        "test mAP at IoU 0.5": f"{results['test_map50']:.4f}",
        "by class": ", ".join(
            f"{name} {ap:.2f}" for name, ap in results["test_ap50"].items()
        ),
        "COCO's AP, AP50, AP75": f"{coco.ap:.4f}, {coco.ap50:.4f}, {coco.ap75:.4f}",
        "validation mAP": f"{results['validation_map50']:.4f}",
    }
    if any(image.objects.masks is not None for image in tested.predictions.images):
        coco = metrics.coco_average_precision(tested.predictions, len(names), True)
        results["test_coco_masks"] = figures(coco)
        scores["the same of masks"] = f"{coco.ap:.4f}, {coco.ap50:.4f}, {coco.ap75:.4f}"
    return training.table(results, run_dir, scores)


def figures(coco: metrics.CocoAveragePrecision) -> dict[str, Any]:
    """Returns COCO's figures as JSON has them, where nothing is not a number."""
    found = dataclasses.asdict(coco)
    found["per_class"] = found["per_class"].tolist()[1:]
    return jax.tree.map(lambda x: None if np.isnan(x) else x, found)


def anchors_of(config: Config, num_classes: int, side: int) -> dict[str, np.ndarray]:
    """Returns the anchors of the middle of each map, in parts of square images' side.

    Raises:
      UserError: if the network does not take images of that size.
    """
    model = config.create_model(num_classes=num_classes, axis_name=None)
    image = jnp.zeros((1, side, side, 3))

    @jax.jit  # Which computes nothing else.
    def all_of_them() -> dict[str, Array]:
        (_, endpoints), _ = model.init_with_output(jax.random.key(0), image)
        return {k: x for k, x in endpoints.items() if k.startswith("anchors_")}

    try:
        maps = sorted(all_of_them().items())
    except ValueError as error:
        raise errors.UserError(f"--image-size {side}: {error}") from error
    found = {}
    for name, anchors in maps:
        boxes = np.asarray(anchors)
        centres = boxes.reshape(-1, 2, 2).mean(1)
        middle = centres[np.square(centres - side / 2).sum(1).argmin()]
        there = np.isclose(centres, middle, atol=0.01).all(1)
        found[name.replace("_", " of map ")] = boxes[there] / side
    return found


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
