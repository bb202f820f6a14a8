"""The recipes of papers."""

import dataclasses
from typing import NamedTuple

from cnnjax.recipes._recipe import Recipe


class Published(NamedTuple):
    """A recipe of a paper.

    Attributes:
      source: the paper, and what is done otherwise here.
      dataset: the TFDS name of what it was made for.
      recipe: the numbers.
    """

    source: str
    dataset: str
    recipe: Recipe


_PLAIN = Recipe(rotation=0.0, scale=0.0, shear=0.0, shift=0.0, warmup_epochs=0.0)
_CIFAR = dataclasses.replace(_PLAIN, image_size=32, crop="padded", flip=True)
_IMAGENET = dataclasses.replace(
    _PLAIN,
    model="resnet50",
    image_size=224,
    crop="resized",
    flip=True,
    eval_crop=224 / 256,
)
_STRIKES_BACK = dataclasses.replace(
    _IMAGENET,
    batch_size=2048,
    optimizer="lamb",
    learning_rate=5e-3,
    warmup_epochs=5.0,
    loss="sigmoid",
    rand_augment=7.0,
    cutmix=1.0,
    eval_crop=0.95,
)

PUBLISHED = {
    "he2015_cifar": Published(
        "He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2: 64,000 steps",
        "cifar10",
        dataclasses.replace(
            _CIFAR,
            epochs=182,
            batch_size=128,
            optimizer="momentum",
            schedule="step",
            weight_decay=1e-4,
        ),
    ),
    "wide_resnet_cifar": Published(
        "Zagoruyko and Komodakis, 2016, https://arxiv.org/abs/1605.07146, section 3; "
        "the frame is black, not a reflection",
        "cifar10",
        dataclasses.replace(
            _CIFAR,
            model="wrn_28_10_cifar",
            epochs=200,
            batch_size=128,
            optimizer="nesterov",
            schedule="step",
            drop_at=(0.3, 0.6, 0.8),
            drop_factor=0.2,
            weight_decay=5e-4,
        ),
    ),
    "fast_cifar": Published(
        "In the style of airbench94, Jordan, 2024, https://arxiv.org/abs/2404.00498: "
        "Nesterov, smoothed labels, a triangle of a schedule and few epochs; without "
        "its network, whitening, alternating flips and views at test time",
        "cifar10",
        dataclasses.replace(
            _CIFAR,
            model="wrn_16_8_cifar",
            epochs=10,
            batch_size=512,
            learning_rate=0.4,
            warmup_epochs=2.3,
            schedule="linear",
            momentum=0.85,
            weight_decay=2e-3,
            label_smoothing=0.2,
            ema_decay=0.99,
        ),
    ),
    "imagenet_90_epochs": Published(
        "Goyal et al., 2017, https://arxiv.org/abs/1706.02677, section 5.1, at its "
        "batch of 256",
        "imagenet2012",
        dataclasses.replace(
            _IMAGENET,
            epochs=90,
            batch_size=256,
            optimizer="nesterov",
            schedule="step",
            drop_at=(1 / 3, 2 / 3, 8 / 9),
            weight_decay=1e-4,
        ),
    ),
    "strikes_back_a1": Published(
        "Wightman et al., 2021, https://arxiv.org/abs/2110.00476, table 2; without "
        "repeated augmentation, rounding of mixed labels and stochastic depth (0.05)",
        "imagenet2012",
        dataclasses.replace(
            _STRIKES_BACK,
            epochs=600,
            weight_decay=0.01,
            label_smoothing=0.1,
            mixup=0.2,
        ),
    ),
    "strikes_back_a2": Published(
        "As strikes_back_a1",
        "imagenet2012",
        dataclasses.replace(_STRIKES_BACK, epochs=300, weight_decay=0.02, mixup=0.1),
    ),
    "strikes_back_a3": Published(
        "As strikes_back_a1; trained at 160 pixels, evaluated at 224",
        "imagenet2012",
        dataclasses.replace(
            _STRIKES_BACK,
            image_size=160,
            eval_size=224,
            epochs=100,
            learning_rate=8e-3,
            weight_decay=0.02,
            rand_augment=6.0,
            mixup=0.1,
        ),
    ),
    "mobilenet_v2": Published(
        "Sandler et al., 2018, https://arxiv.org/abs/1801.04381, section 6.1; 300 "
        "epochs as in torchvision's references, for the paper gives no number",
        "imagenet2012",
        dataclasses.replace(
            _IMAGENET,
            model="mobilenet_v2",
            epochs=300,
            batch_size=96,
            optimizer="rmsprop",
            learning_rate=0.045,
            schedule="exponential",
            drop_factor=0.98**300,
            weight_decay=4e-5,
        ),
    ),
    "efficientnet_b0": Published(
        "Tan and Le, 2019, https://arxiv.org/abs/1905.11946, section 5.2, "
        "and for the batch, the epochs, warm-up and average the authors' code",
        "imagenet2012",
        dataclasses.replace(
            _IMAGENET,
            model="efficientnet_b0",
            epochs=350,
            batch_size=4096,
            optimizer="rmsprop",
            learning_rate=0.256,
            warmup_epochs=5.0,
            schedule="exponential",
            drop_factor=0.97 ** (345 / 2.4),  # Every 2.4 epochs after the warm-up.
            weight_decay=1e-5,
            label_smoothing=0.1,
            rand_augment=9.0,
            drop_path_rate=0.2,
            ema_decay=0.9999,
        ),
    ),
    "convnext_tiny": Published(
        "Liu et al., 2022, https://arxiv.org/abs/2201.03545, table 5",
        "imagenet2012",
        dataclasses.replace(
            _IMAGENET,
            model="convnext_tiny",
            epochs=300,
            batch_size=4096,
            optimizer="adamw",
            learning_rate=4e-3,
            warmup_epochs=20.0,
            weight_decay=0.05,
            label_smoothing=0.1,
            mixup=0.8,
            cutmix=1.0,
            rand_augment=9.0,
            erasing=0.25,
            drop_path_rate=0.1,
            ema_decay=0.9999,
        ),
    ),
}
