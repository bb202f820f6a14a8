"""A recipe as numbers, and what `cnnjax.train` and `cnnjax.data` make of it."""

import dataclasses
import functools
from collections.abc import Callable
from math import inf
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array

from cnnjax import data, errors, registry, train
from cnnjax.models import Network


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides, with the data and a seed, about the parameters of a network."""

    model: str = "resnet20_cifar"
    """A name from `cnnjax.list_models()`."""
    image_size: int = 24
    """Side of the images fed to the network, in pixels; others are resized."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the network computes in; parameters and statistics stay float32. With
    `float16` the loss is scaled so that small gradients survive."""
    drop_path_rate: float | None = None
    """Probability to leave out the last block (stochastic depth), for networks that
    can; None for the network's own."""
    remat: bool = False
    """Computes what is inside a block again in the backward pass, for memory."""

    epochs: int = 45
    """How often to go through the training images."""
    batch_size: int = 32
    """Images per update, over all devices."""
    optimizer: str = "sgd"
    """`sgd` (Nesterov momentum, decoupled decay), `nesterov` (decay as part of the
    gradient), `momentum` (neither), `rmsprop`, `adamw`, `lamb` or `lars`."""
    learning_rate: float = 0.1
    """The highest learning rate, reached after the warm-up."""
    warmup_epochs: float = 1.0
    """Epochs during which the learning rate grows from 0."""
    schedule: str = "cosine"
    """What the rate does then: `cosine` or `linear` (to 0), `step` or `exponential`."""
    drop_at: tuple[float, ...] = (0.5, 0.75)
    """With `step`, after which parts of the run the rate drops."""
    drop_factor: float = 0.1
    """With `step`, what each drop multiplies the rate by; with `exponential`, what the
    whole run does."""
    momentum: float = 0.9
    """Decay of the gradient's running average."""
    weight_decay: float = 5e-3
    """With `sgd`, a step shrinks kernels by this times the learning rate."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each block to the one before it."""
    clip_norm: float = 0.0
    """Longer gradients are shortened to this norm; 0 leaves them alone."""
    ema_decay: float = 0.0
    """Evaluates a running average of the parameters that keeps this share of itself in
    each step; 0 evaluates the parameters."""

    loss: str = "softmax"
    """Cross-entropy: `softmax`, of classes that exclude each other, or `sigmoid`, of
    one yes or no each."""
    label_smoothing: float = 0.0
    """How much of each label is spread over all classes."""
    mixup: float = 0.0
    """Averages pairs of images with shares from Beta(mixup, mixup); 0 turns it off."""
    cutmix: float = 0.0
    """Pastes boxes of areas from Beta(cutmix, cutmix); with both, one or the other."""

    crop: Literal["none", "padded", "resized"] = "none"
    """Augmentation: a part of the image behind a frame of 4 pixels, or a part of random
    size and shape."""
    flip: bool = False
    """Augmentation: mirrors every other image."""
    rand_augment: float = 0.0
    """Augmentation: magnitude, of 10, of two random changes of colour or geometry."""
    rotation: float = 10.0
    """Augmentation: largest rotation, in degrees. 0 turns it off, as below."""
    scale: float = 0.1
    """Augmentation: largest relative change of size."""
    shear: float = 0.1
    """Augmentation: largest horizontal offset per unit of height."""
    shift: float = 0.1
    """Augmentation: largest shift, as a fraction of the image."""
    erasing: float = 0.0
    """Augmentation: share of the images in which a box becomes noise."""
    eval_crop: float = 1.0
    """What share of the shorter side an image shows when it is evaluated."""
    eval_size: int | None = None
    """Side of the images that are evaluated; None for that of training."""

    def check_recipe(self) -> None:
        """Raises a UserError that names the first number out of its range."""
        positive = ("image_size", "eval_size", "epochs", "batch_size", "learning_rate")
        shares = ("label_smoothing", "ema_decay", "erasing", "momentum")
        amounts = ("mixup", "cutmix", "clip_norm", "weight_decay", "warmup_epochs")
        amounts += ("rotation", "scale", "shear", "shift")
        for demand, holds, names in (
            ("must be positive", lambda x: 0 < x < inf, positive),
            ("must be in [0, 1)", lambda x: 0 <= x < 1, (*shares, "drop_path_rate")),
            ("must not be negative", lambda x: 0 <= x < inf, amounts),
            ("must be in [0, 10]", lambda x: 0 <= x <= 10, ("rand_augment",)),
            ("must be in (0, 1]", lambda x: 0 < x <= 1, ("eval_crop", "layer_decay")),
        ):
            train.check_numbers(self, demand, holds, names)

    def create_model(
        self, *, num_classes: int, axis_name: str | None = None
    ) -> Network:
        """Returns the network.

        Args:
          num_classes: outputs.
          axis_name: axis of the devices that share BatchNorm's statistics.

        Raises:
          UserError: if there is no such network, or it lacks what an option is about.
        """
        for name in self.options():
            if not hasattr(registry.create(self.model), name):
                option = f"--{name.replace('_', '-')}"
                raise errors.UserError(f"{option} means nothing to {self.model}")
        return registry.create(
            self.model, num_classes=num_classes, axis_name=axis_name, **self.options()
        )

    def options(self) -> dict[str, Any]:
        """Returns the options of the network that its weights do not show."""
        options: dict[str, Any] = {
            "image_size": self.image_size,
            "dtype": jnp.dtype(self.dtype),
        }
        if self.drop_path_rate is not None:
            options["drop_path_rate"] = self.drop_path_rate
        if self.remat:
            options["remat"] = True
        return options

    def create_schedule(self, steps_per_epoch: int) -> optax.Schedule:
        """Returns the learning rate of each update."""
        return train.create_schedule(
            self.schedule,
            peak=self.learning_rate,
            num_steps=self.epochs * steps_per_epoch,
            warmup_steps=round(self.warmup_epochs * steps_per_epoch),
            drop_at=self.drop_at,
            drop_factor=self.drop_factor,
        )

    def create_optimizer(
        self, schedule: optax.Schedule
    ) -> optax.GradientTransformation:
        """Returns the optimiser, clipping and decay included."""
        return train.create_optimizer(
            self.optimizer,
            learning_rate=schedule,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            layer_decay=self.layer_decay,
        )

    def init_options(self) -> dict[str, bool]:
        """Returns what `train.init_state` has to put into the state."""
        return {"ema": self.ema_decay > 0, "loss_scale": self.dtype == "float16"}

    def create_loss(self, num_classes: int) -> Callable[..., Array]:
        """Returns (logits, labels) -> losses, as `train.train_step` takes it.

        Args:
          num_classes: of the labels.

        Raises:
          UserError: if there is no such loss.
        """
        del num_classes  # These two need not know; those of pixels do.
        losses = {
            "softmax": optax.softmax_cross_entropy,
            "sigmoid": optax.sigmoid_binary_cross_entropy,
        }
        if self.loss not in losses:
            raise errors.unknown("loss", self.loss, losses)
        return losses[self.loss]

    def create_step(
        self,
        model: nn.Module,
        tx: optax.GradientTransformation,
        *,
        num_classes: int,
        **options: Any,
    ) -> "functools.partial[Any]":
        """Returns the pure step (state, batch, key) -> (state, metrics).

        Args:
          model: as `create_model` returns it, or one made of it.
          tx: as `create_optimizer` returns it.
          num_classes: of the model.
          **options: more of `train.train_step`, e.g. `axis_name`.
        """
        mix = functools.partial(
            train.mixup_or_cutmix,
            mixup_alpha=self.mixup,
            cutmix_alpha=self.cutmix,
            num_classes=num_classes,
        )
        return functools.partial(
            train.train_step,
            model,
            tx,
            loss=self.create_loss(num_classes),
            label_smoothing=self.label_smoothing,
            mix=mix if self.mixup or self.cutmix else None,
            ema_decay=self.ema_decay,
            **options,
        )

    def augmentation(self) -> tuple[data.Compose, data.Compose]:
        """Returns the random changes of images of bytes, and of normalised ones."""
        on_bytes, on_floats = [], []
        if self.crop == "resized":
            on_bytes.append(data.RandomResizedCrop(self.image_size))
        elif self.crop == "padded":
            on_bytes.append(data.RandomCrop())
        if self.flip:
            on_bytes.append(data.RandomFlip())
        if self.rand_augment:
            on_bytes.append(data.RandAugment(magnitude=self.rand_augment))
        amounts = (self.rotation, self.scale, self.shear, self.shift)
        if any(amounts):
            on_floats.append(data.RandomAffine(*amounts))
        if self.erasing:
            on_floats.append(data.RandomErasing(self.erasing))
        return data.Compose(on_bytes), data.Compose(on_floats)
