"""Trains a classifier on real images, to the end: accuracy, a table and pictures.

Claim: a ResNet-20 reads the handwriting of people it has never seen (scikit-learn's
digits, test split) better than scikit-learn's own support vector machine.

    python experiments/classify.py

Hardware, time and result: see the README's first table.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.table

import cnnjax
from cnnjax import cli, errors


if TYPE_CHECKING:
    from cnnjax import data
    from cnnjax.data import ImageSource


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of a run. A run is a function of these, up to where it is stored."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""

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
    image_size: int = 24
    """Side of the images fed to the network, in pixels; others are resized."""
    rotation: float = 10.0
    """Augmentation: largest rotation, in degrees. 0 turns it off, as below."""
    scale: float = 0.1
    """Augmentation: largest relative change of size."""
    shear: float = 0.1
    """Augmentation: largest horizontal offset per unit of height."""
    shift: float = 0.1
    """Augmentation: largest shift, as a fraction of the image."""
    crop: Literal["none", "padded", "resized"] = "none"
    """Augmentation: a part of the image behind a frame of 4 pixels, or a part of random
    size and shape."""
    flip: bool = False
    """Augmentation: mirrors every other image."""
    rand_augment: float = 0.0
    """Augmentation: magnitude, of 10, of two random changes of colour or geometry."""
    erasing: float = 0.0
    """Augmentation: share of the images in which a box becomes noise."""

    model: str = "resnet20_cifar"
    """A name from `cnnjax.list_models()`."""

    epochs: int = 45
    """How often to go through the training images."""
    batch_size: int = 32
    """Images per update, over all devices."""
    optimizer: str = "sgd"
    """`sgd` (Nesterov momentum, decoupled decay), `momentum` (neither), `rmsprop`,
    `adamw`, `lamb` or `lars`."""
    schedule: str = "cosine"
    """`cosine` or `linear` (to 0), or `step` (a tenth after 1/2 and 3/4 of the run)."""
    learning_rate: float = 0.1
    """The highest learning rate, reached after the warm-up."""
    warmup_epochs: float = 1.0
    """Epochs during which the learning rate grows from 0."""
    momentum: float = 0.9
    """Decay of the gradient's running average."""
    weight_decay: float = 5e-3
    """With `sgd`, a step shrinks kernels by this times the learning rate."""
    clip_norm: float = 0.0
    """Longer gradients are shortened to this norm; 0 leaves them alone."""
    label_smoothing: float = 0.0
    """How much of each label is spread over all classes."""
    mixup: float = 0.0
    """Averages pairs of images with shares from Beta(mixup, mixup); 0 turns it off."""
    cutmix: float = 0.0
    """Pastes boxes of areas from Beta(cutmix, cutmix); with both, one or the other."""
    ema_decay: float = 0.0
    """Evaluates a running average of the parameters that keeps this share of itself in
    each step; 0 evaluates the parameters."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters and statistics stay float32."""

    parallel: str = "sharded"
    """How devices share a batch: `sharded`, `fully_sharded` (parameters too),
    `shard_map`, `pmap`, or `jit` (one device alone)."""
    local_batch_norm: bool = False
    """With `shard_map` and `pmap`, each device normalises by its own images."""
    micro_batches: int = 1
    """In how many parts, one after the other, a gradient is computed, for memory."""

    seed: int = 0
    """Of the initial parameters, the order and the augmentation."""

    run_dir: Path | None = None
    """Where config, metrics, checkpoints, results and pictures go (default: a new
    folder below `runs/`)."""
    resume: bool = False
    """Continue the run in `--run-dir`, or start it if there is none yet."""
    keep: int = 2
    """How many of the newest checkpoints to keep, besides the best."""


PRESETS = {
    "default": Config(),
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
}


def main(config: Config) -> dict[str, Any]:
    """Trains, evaluates and draws; returns what `results.json` holds."""
    from cnnjax import data, train  # `--help` need not wait for these.
    from cnnjax.train import parallel

    start = time.monotonic()
    console = rich.console.Console(highlight=False, soft_wrap=True)

    # Whatever can be wrong with the request is found before anything is written.
    check_numbers(config)
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
    model = cnnjax.create(
        config.model,
        num_classes=num_classes,
        dtype=jnp.dtype(config.dtype),
        axis_name=None if config.local_batch_norm else strategy.axis_name,
    )
    schedule = train.create_schedule(
        config.schedule,
        peak=config.learning_rate,
        num_steps=num_steps,
        warmup_steps=round(config.warmup_epochs * steps_per_epoch),
    )
    tx = train.create_optimizer(
        config.optimizer,
        learning_rate=schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    ema = config.ema_decay > 0
    init = functools.partial(train.init_state, model, tx, init_key, ema=ema)
    side, channels = config.image_size, train_source.image_shape[-1]
    image = jnp.zeros((1, side, side, channels))
    shapes = jax.eval_shape(init, image)
    num_params = sum(p.size for p in jax.tree.leaves(shapes.params))
    state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))
    settings = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    run_dir = train.open_run(
        "classify",
        settings,
        run_dir=config.run_dir,
        resume=config.resume,
        # The kept, the best and the one being written; then logs and pictures.
        needed_bytes=(config.keep + 2) * state_bytes + 2**24,
    )
    console.print(f"{config.model}: {num_params:,} parameters, run folder {run_dir}")

    batching: dict[str, int] = {
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    mix = functools.partial(
        train.mixup_or_cutmix,
        mixup_alpha=config.mixup,
        cutmix_alpha=config.cutmix,
        num_classes=num_classes,
    )
    train_step = functools.partial(
        train.train_step,
        model,
        tx,
        axis_name=strategy.axis_name,
        label_smoothing=config.label_smoothing,
        mix=mix if config.mixup or config.cutmix else None,
        micro_batches=config.micro_batches,
        ema_decay=config.ema_decay,
    )
    eval_step = jax.jit(functools.partial(train.eval_step, model))

    def evaluate(source: data.ImageSource, state: train.TrainState):
        held_out = data.eval_batches(source, **batching)
        return train.run_eval(eval_step, state, held_out, strategy.mesh)

    state = parallel.replicate(jax.jit(init)(image), strategy.mesh)
    with train.Checkpointer(run_dir / "checkpoints", keep=config.keep) as checkpointer:
        earlier = 0.0
        if restored := checkpointer.restore(state):
            state, document = restored
            earlier = document["seconds"]
            done = "finished" if int(state.step) == num_steps else "continues"
            console.print(f"the run {done} at step {int(state.step)} of {num_steps}")
        elif config.resume:
            console.print("no checkpoint yet: the run starts from the beginning")
        on_bytes, on_floats = augmentation(config)
        batches = data.train_batches(
            train_source,
            seed=config.seed,
            start_step=int(state.step),
            augment=on_floats,
            augment_bytes=on_bytes,
            **batching,
        )
        placed = strategy.place(state)
        with train.RunLog(
            run_dir,
            console=console,
            start_step=int(state.step),
            num_steps=num_steps,
            steps_per_epoch=steps_per_epoch,
            batch_size=config.batch_size,
        ) as log:
            try:
                state = train.fit(
                    strategy.compile(train_step, placed),
                    placed,
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
                    },
                    log=log,
                    strategy=strategy,
                )
            except train.Interrupted:
                console.print(f"saved; continue with\n{cli.resume_command(run_dir)}")
                raise

    metrics, logits = evaluate(test_source, state)
    predictions = np.argmax(np.concatenate(logits)[: len(test_source)], axis=-1)
    draw(run_dir, test_source, predictions)
    results = {
        "test_accuracy": metrics["accuracy"],
        "test_loss": metrics["loss"],
        "test_images": len(test_source),
        "validation_accuracy": evaluate(validation_source, state)[0]["accuracy"],
        "seconds": earlier + time.monotonic() - start,
        "seed": config.seed,
        "num_params": num_params,
        "num_steps": num_steps,
        "params_sha256": fingerprint(state.params),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "config": settings,
    }
    train.write_json(run_dir / "results.json", results)
    console.print(table(results, run_dir))
    return results


def check_numbers(config: Config) -> None:
    """Raises a UserError for a number out of its range."""
    positive = ("image_size", "epochs", "batch_size", "learning_rate", "keep")
    rules = (
        ("must be positive", lambda x: x > 0, (*positive, "micro_batches")),
        (
            "must be in [0, 1)",
            lambda x: 0 <= x < 1,
            ("label_smoothing", "ema_decay", "erasing"),
        ),
        (
            "must not be negative",
            lambda x: x >= 0,
            ("mixup", "cutmix", "clip_norm", "rand_augment"),
        ),
    )
    for demand, holds, names in rules:
        for name in names:
            if not holds(value := getattr(config, name)):
                option = f"--{name.replace('_', '-')}"
                raise errors.UserError(f"{option} is {value}; it {demand}")


def augmentation(config: Config) -> tuple["data.Compose", "data.Compose"]:
    """Returns the changes of images of bytes, and of normalised ones."""
    from cnnjax import data

    on_bytes, on_floats = [], []
    if config.crop == "resized":
        on_bytes.append(data.RandomResizedCrop(config.image_size))
    elif config.crop == "padded":
        on_bytes.append(data.RandomCrop())
    if config.flip:
        on_bytes.append(data.RandomFlip())
    if config.rand_augment:
        on_bytes.append(data.RandAugment(magnitude=config.rand_augment))
    amounts = (config.rotation, config.scale, config.shear, config.shift)
    if any(amounts):
        on_floats.append(data.RandomAffine(*amounts))
    if config.erasing:
        on_floats.append(data.RandomErasing(config.erasing))
    return data.Compose(on_bytes), data.Compose(on_floats)


def draw(run_dir: Path, source: "ImageSource", predictions: np.ndarray) -> None:
    """Draws the learning curves, the confusion matrix and the mistakes."""
    from cnnjax import plots, train

    names = source.class_names
    labels = np.array([example["label"] for example in source])
    wrong = np.flatnonzero(predictions != labels).tolist()
    plots.learning_curves(run_dir / "curves.png", train.read_metrics(run_dir))
    plots.confusion_matrix(run_dir / "confusion.png", labels, predictions, names)
    plots.misclassified(
        run_dir / "misclassified.png",
        [source[i]["image"] for i in wrong[:64]],
        [f"{i}: {names[labels[i]]} as {names[predictions[i]]}" for i in wrong[:64]],
        title=f"{min(len(wrong), 64)} of {len(wrong)} misclassified images",
    )


def fingerprint(params: Any) -> str:
    """Returns the SHA-256 of all parameters: equal runs have equal fingerprints."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(jax.device_get(params)):
        digest.update(jax.tree_util.keystr(path).encode() + leaf.tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Returns the versions of the packages that decide about the numbers."""
    packages = ("jax", "jaxlib", "flax", "optax", "grain", "numpy")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"cnnjax": cnnjax.__version__} | found


def table(results: dict[str, Any], run_dir: Path) -> rich.table.Table:
    """Returns the last thing that a run prints."""
    wrong = round((1 - results["test_accuracy"]) * results["test_images"])
    rows = {
        "test accuracy": f"{results['test_accuracy']:.2%}",
        "test errors": f"{wrong} of {results['test_images']}",
        "validation accuracy": f"{results['validation_accuracy']:.2%}",
        "parameters": f"{results['num_params']:,}",
        "time": f"{results['seconds']:.0f} s",
        "results and pictures": str(run_dir),
    }
    table = rich.table.Table(title=results["config"]["model"], show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
