"""Learning from another network: its soft answers, and its features as hints."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cnnjax import errors


Outputs = tuple[Float[Array, "n classes"], dict[str, Any]]
HINT = "hint"  # The endpoint that `Hinted` adds.


@dataclasses.dataclass(frozen=True)
class Distillation:
    """What a student network is to learn from a teacher.

    Its loss is `loss + weight * soft_target_loss`. With a hint, the first `hint_steps`
    updates follow `hint_loss` alone: the first stage of FitNets.

    Attributes:
      teacher: images -> (logits, endpoints), as of a model that has its variables.
      weight: how much the teacher's answers count beside the labels.
      temperature: what logits are divided by, so that wrong answers show.
      hint: the teacher's endpoint that the student's endpoint "hint", see `Hinted`,
        has to equal; None for no hint.
      hint_steps: how many updates follow the hint.

    Sources: Hinton et al., 2015, https://arxiv.org/abs/1503.02531, section 2; Romero et
    al., 2014, https://arxiv.org/abs/1412.6550, equations 2 and 3.
    """

    teacher: Callable[[Float[Array, "n h w c"]], Outputs]
    weight: float = 1.0
    temperature: float = 4.0
    hint: str | None = None
    hint_steps: int = 0

    def __call__(
        self,
        losses: Float[Array, " n"],
        images: Float[Array, "n h w c"],
        outputs: Outputs,
        step: Any,
    ) -> Float[Array, " n"]:
        """Returns the loss of each image.

        Args:
          losses: those of the labels.
          images: what both networks see.
          outputs: the student's logits and endpoints.
          step: the number of updates done.
        """
        logits, endpoints = outputs
        teacher_logits, teacher_endpoints = jax.lax.stop_gradient(self.teacher(images))
        soft = soft_target_loss(logits, teacher_logits, temperature=self.temperature)
        losses = losses + self.weight * soft
        if self.hint is None:
            return losses
        distances = hint_loss(endpoints[HINT], teacher_endpoints[self.hint])
        return jnp.where(step < self.hint_steps, distances, losses)


def soft_target_loss(
    logits: Float[Array, "n classes"],
    teacher_logits: Float[Array, "n classes"],
    *,
    temperature: float = 4.0,
) -> Float[Array, " n"]:
    """`T^2 KL(softmax(teacher / T) || softmax(student / T))`, one value per image.

    The factor keeps the gradient's size independent of the temperature T.
    """
    log_p = jax.nn.log_softmax(teacher_logits.astype(jnp.float32) / temperature)
    log_q = jax.nn.log_softmax(logits.astype(jnp.float32) / temperature)
    divergence = optax.losses.kl_divergence_with_log_targets(log_q, log_p)
    return temperature**2 * divergence


def hint_loss(
    features: Float[Array, " n *shape"], hint: Float[Array, " n *shape"]
) -> Float[Array, " n"]:
    """Half the mean square of the difference, one value per image."""
    difference = (features - hint).astype(jnp.float32).reshape(len(hint), -1)
    return 0.5 * jnp.mean(jnp.square(difference), axis=1)


class Hinted(nn.Module):
    """A student with a regressor that makes the teacher's features of its own.

    The regressor is a convolution without padding, of the size that brings the
    student's maps to the teacher's.

    Attributes:
      student: returns (logits, endpoints).
      guided: which of its endpoints is guided.
      features: [h, w, c] of the teacher's endpoint.
    """

    student: nn.Module
    guided: str
    features: tuple[int, int, int]

    @nn.compact
    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False
    ) -> Outputs:
        """Returns the student's logits, and its endpoints with "hint" among them.

        Raises:
          UserError: if the student has no such endpoint, or its maps are smaller.
        """
        logits, endpoints = self.student(images, train=train)
        if self.guided not in endpoints:
            raise errors.unknown("endpoint", self.guided, endpoints)
        x = endpoints[self.guided]
        height, width, channels = self.features
        kernel = (x.shape[1] - height + 1, x.shape[2] - width + 1)
        if min(kernel) < 1:
            raise errors.UserError(
                f"endpoint {self.guided} has maps of {x.shape[1]} x {x.shape[2]}, "
                f"smaller than the teacher's {height} x {width}"
            )
        conv = nn.Conv(channels, kernel, padding="VALID", name="regressor")
        return logits, endpoints | {HINT: conv(x)}
