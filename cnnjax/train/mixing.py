"""Mixtures of the images of a batch, made on the device, within the step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def mixup(
    batch: dict[str, Array], key: Array, *, alpha: float, num_classes: int
) -> dict[str, Array]:
    """Averages each image with another one, and their labels alike.

    `x = l x_i + (1 - l) x_j`, with one `l ~ Beta(alpha, alpha)` for the batch; j counts
    from the other end.

    Args:
      batch: "image" [n, h, w, c] and "label" [n].
      key: decides on l.
      alpha: positive; near 0 one of the two prevails, at 1 every share is as likely.
      num_classes: of the labels.

    Returns:
      The batch with shares of classes as "label" [n, num_classes].

    Source: Zhang et al., 2017, https://arxiv.org/abs/1710.09412.
    """
    share = jax.random.beta(key, alpha, alpha)
    image = batch["image"]
    mixed = share * image + (1 - share) * image[::-1]
    label = _mixed_labels(batch["label"], share, num_classes)
    return batch | {"image": mixed.astype(image.dtype), "label": label}


def cutmix(
    batch: dict[str, Array], key: Array, *, alpha: float, num_classes: int
) -> dict[str, Array]:
    """Pastes a box of another image into each, and mixes the labels by area.

    The box, one for the batch, has `1 - l` of the area, `l ~ Beta(alpha, alpha)`, and a
    uniform middle; what sticks out of the image is cut off.

    Args:
      batch: "image" [n, h, w, c] and "label" [n].
      key: decides on the box.
      alpha: positive; at 1 every area is as likely.
      num_classes: of the labels.

    Returns:
      The batch with shares of classes as "label" [n, num_classes].

    Source: Yun et al., 2019, https://arxiv.org/abs/1905.04899.
    """
    image = batch["image"]
    area_key, *middle_keys = jax.random.split(key, 3)
    side = jnp.sqrt(1 - jax.random.beta(area_key, alpha, alpha))
    inside = []
    for size, middle_key in zip(image.shape[1:3], middle_keys, strict=True):
        half = jnp.floor(side * size) / 2
        middle = jax.random.randint(middle_key, (), 0, size)
        places = jnp.arange(size)
        inside.append((places >= middle - half) & (places < middle + half))
    box = inside[0][:, None] & inside[1][None]
    mixed = jnp.where(box[None, :, :, None], image[::-1], image)
    label = _mixed_labels(batch["label"], 1 - jnp.mean(box), num_classes)
    return batch | {"image": mixed, "label": label}


def mixup_or_cutmix(
    batch: dict[str, Array],
    key: Array,
    *,
    mixup_alpha: float,
    cutmix_alpha: float,
    num_classes: int,
) -> dict[str, Array]:
    """Does one of the two to a batch, each as often; one with alpha 0 is never done."""
    choice, key = jax.random.split(key)
    if not cutmix_alpha:
        return mixup(batch, key, alpha=mixup_alpha, num_classes=num_classes)
    if not mixup_alpha:
        return cutmix(batch, key, alpha=cutmix_alpha, num_classes=num_classes)
    return jax.lax.cond(
        jax.random.bernoulli(choice),
        lambda: mixup(batch, key, alpha=mixup_alpha, num_classes=num_classes),
        lambda: cutmix(batch, key, alpha=cutmix_alpha, num_classes=num_classes),
    )


def _mixed_labels(
    label: Int[Array, " n"], share: Float[Array, ""], num_classes: int
) -> Float[Array, "n classes"]:
    shares = jax.nn.one_hot(label, num_classes)
    return share * shares + (1 - share) * shares[::-1]
