"""Which device holds what: the only file here that knows of devices."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from cnnjax import errors


def data_mesh() -> Mesh:
    """Returns all devices in one row, along the axis "batch"."""
    return jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, num_examples: int) -> None:
    """Raises a UserError unless batches can be filled and shared by all devices.

    Args:
      batch_size: images per batch, over all devices.
      num_examples: images in the data set.
    """
    if not 1 <= batch_size <= num_examples:
        raise errors.UserError(
            f"batch size {batch_size} does not fit a data set of {num_examples} images"
        )
    if batch_size % jax.device_count():
        raise errors.UserError(
            f"batch size {batch_size} is not divisible by {jax.device_count()} devices"
        )


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Returns a copy of the tree on every device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Spreads a batch over the devices along its first axis.

    Args:
      batch: this process's part of the batch, as NumPy arrays.
      mesh: as `data_mesh` returns.
    """
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )
