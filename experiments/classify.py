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
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.console
import rich.table

import cnnjax
from cnnjax import cli, errors


if TYPE_CHECKING:
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

    model: str = "resnet20_cifar"
    """A name from `cnnjax.list_models()`."""

    epochs: int = 45
    """How often to go through the training images."""
    batch_size: int = 32
    """Images per update, over all devices."""
    optimizer: str = "sgd"
    """`sgd` (Nesterov momentum) or `adamw`."""
    schedule: str = "cosine"
    """`cosine` (to 0), or `step` (a tenth after 1/2 and 3/4 of the run)."""
    learning_rate: float = 0.1
    """The highest learning rate, reached after the warm-up."""
    warmup_epochs: float = 1.0
    """Epochs during which the learning rate grows from 0."""
    momentum: float = 0.9
    """Decay of the gradient's running average."""
    weight_decay: float = 5e-3
    """Decoupled: a step shrinks kernels by this times the learning rate."""
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
    parallel.check_batch_size(config.batch_size, len(train_source))
    steps_per_epoch = len(train_source) // config.batch_size
    num_steps = config.epochs * steps_per_epoch
    model = cnnjax.create(config.model, num_classes=len(train_source.class_names))
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
    )
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    init = functools.partial(train.init_state, model, tx, init_key)
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

    mesh = parallel.data_mesh()
    batching: dict[str, int] = {
        "batch_size": config.batch_size,
        "image_size": config.image_size,
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    augment = data.RandomAffine(
        config.rotation, config.scale, config.shear, config.shift
    )
    batches = data.train_batches(
        train_source, seed=config.seed, augment=augment, **batching
    )
    train_step = functools.partial(train.train_step, model, tx)
    eval_step = jax.jit(functools.partial(train.eval_step, model))

    def evaluate(source: data.ImageSource, state: train.TrainState):
        held_out = data.eval_batches(source, **batching)
        return train.run_eval(eval_step, state, held_out, mesh)

    state = parallel.replicate(jax.jit(init)(image), mesh)
    with train.Checkpointer(run_dir / "checkpoints", keep=config.keep) as checkpointer:
        earlier = 0.0
        if restored := checkpointer.restore(state, batches):
            state, document = restored
            earlier = document["seconds"]
            done = "finished" if int(state.step) == num_steps else "continues"
            console.print(f"the run {done} at step {int(state.step)} of {num_steps}")
        elif config.resume:
            console.print("no checkpoint yet: the run starts from the beginning")
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
                    jax.jit(train_step, donate_argnums=0),
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
                    },
                    log=log,
                    mesh=mesh,
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
    for name in ("image_size", "epochs", "batch_size", "learning_rate", "keep"):
        if not getattr(config, name) > 0:
            option = f"--{name.replace('_', '-')}"
            raise errors.UserError(
                f"{option} is {getattr(config, name)}; it must be positive"
            )


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
