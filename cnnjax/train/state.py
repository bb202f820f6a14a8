"""What training changes: parameters, statistics, and the optimiser's memory."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.training import dynamic_scale
from jaxtyping import Array, Float, PyTree


@flax.struct.dataclass
class TrainState:
    """Everything a checkpoint holds.

    Attributes:
      step: number of updates done, an integer scalar.
      params: trainable parameters.
      batch_stats: running BatchNorm statistics; {} without BatchNorm.
      opt_state: state of the optimiser.
      ema_params: running average of the parameters; {} where none is kept.
      loss_scale: what the loss is multiplied by while gradients are computed, so that
        those of float16 networks do not vanish; {} where it is not.
    """

    step: PyTree
    params: PyTree
    batch_stats: PyTree
    opt_state: PyTree
    ema_params: PyTree = flax.struct.field(default_factory=dict)
    loss_scale: PyTree = flax.struct.field(default_factory=dict)

    @property
    def eval_params(self) -> PyTree:
        """The parameters to evaluate: their average where one is kept."""
        return self.ema_params or self.params


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    key: Array,
    image: Float[Array, "n *thw c"],
    *,
    ema: bool = False,
    loss_scale: bool = False,
) -> TrainState:
    """Initialises the state from one example batch (only its shape matters).

    Args:
      model: returns (logits, endpoints).
      tx: the optimiser.
      key: the key of the initial parameters.
      image: images of the shape to train on.
      ema: whether a running average of the parameters is kept; it begins as they do.
      loss_scale: whether the loss is scaled for float16.
    """
    variables = model.init(key, image)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=tx.init(params),
        ema_params=jax.tree.map(jnp.copy, params) if ema else {},
        loss_scale=dynamic_scale.DynamicScale().replace(
            fin_steps=jnp.int32(0), scale=jnp.float32(2**16)
        )
        if loss_scale
        else {},
    )
