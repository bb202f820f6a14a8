"""What training changes: parameters, statistics, and the optimiser's memory."""

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree


@flax.struct.dataclass
class TrainState:
    """Everything a checkpoint holds.

    Attributes:
      step: number of updates done, an integer scalar.
      params: trainable parameters.
      batch_stats: running BatchNorm statistics; {} without BatchNorm.
      opt_state: state of the optimiser.
    """

    step: PyTree
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    key: Array,
    image: Float[Array, "n h w c"],
) -> TrainState:
    """Initialises the state from one example batch (only its shape matters).

    Args:
      model: returns (logits, endpoints).
      tx: the optimiser.
      key: the key of the initial parameters.
      image: images of the shape to train on.
    """
    variables = model.init(key, image)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=tx.init(params),
    )
