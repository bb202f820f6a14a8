"""A mean that can be taken in parts: over batches, devices and hosts."""

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree, Shaped


@flax.struct.dataclass
class Mean:
    """The sum and the number of the values seen so far.

    Sums of parts are exact as long as they are: `a + b` is the metric of both, and
    `jax.lax.psum(mean, axis_name)` that of all devices.

    Attributes:
      total: sum of the values that count.
      count: how many they are.
    """

    # Scalars; but a tree of shapes, shardings or devices' parts has this structure too.
    total: PyTree
    count: PyTree

    @classmethod
    def of(cls, values: Shaped[Array, "*n"], mask: Bool[Array, "*n"]) -> "Mean":
        """Returns the mean of the values where mask is true.

        Args:
          values: one number (or truth value) per example.
          mask: which of the examples count.
        """
        values = values.astype(jnp.float32)
        return cls(
            total=jnp.sum(jnp.where(mask, values, 0.0)),
            count=jnp.sum(mask.astype(jnp.float32)),
        )

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.count + other.count)

    def compute(self) -> float:
        """Returns total / count as a Python float; NaN if nothing was counted."""
        return float(self.total) / float(self.count) if self.count else float("nan")
