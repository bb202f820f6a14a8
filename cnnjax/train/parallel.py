"""Which device holds what: the only file here that knows of devices.

A step is a pure function `(state, batch, key) -> (state, metrics)`. A `Strategy` runs
it on many devices; all of them compute the same update:

- "jit": one device.
- "sharded": `jit` over a batch that is spread over all devices. XLA sees the whole
  batch, so that BatchNorm has its statistics, and adds the reductions. The default.
- "fully_sharded": likewise, with parameters and the optimiser's state spread, too.
- "shard_map", "pmap": every device runs the step on its part of the batch, and the step
  averages over the axis "batch". BatchNorm has the whole batch's statistics if the
  model has `axis_name="batch"`, else each device's own, which are averaged.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.jax_utils
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from cnnjax import errors


AXIS = "batch"
_HEARTBEAT_SECONDS = 30  # JAX's default of 100 is longer than anybody wants to wait.

Step = Callable[[PyTree, PyTree, jax.Array], tuple[PyTree, PyTree]]


class Strategy:
    """How devices share a step; this one is "sharded".

    Attributes:
      mesh: the devices in one row, along the axis "batch".
      axis_name: the axis that a step has to average over; None where XLA does.
    """

    axis_name: str | None = None

    def __init__(self) -> None:
        self.mesh = data_mesh()

    def shardings(self, state: PyTree) -> PyTree:
        """Returns where each array of a global state is kept; only shapes matter."""
        return jax.tree.map(self._sharding, state)

    def place(self, state: PyTree) -> PyTree:
        """Returns a copy of the state where the step wants it.

        The step may write over it (donation); the state that was passed in stays.
        """
        # What `device_put` returns may share memory with its argument, even with
        # `may_alias=False` (jax 0.10.2): so that of a copy is taken.
        return jax.tree.map(
            lambda x: jax.device_put(jnp.copy(x), self._sharding(x)), state
        )

    def shard(self, batch: PyTree) -> PyTree:
        """Spreads this process's part of a batch, NumPy arrays, over its devices."""
        return shard_batch(batch, self.mesh)

    def compile(self, step: Step, state: PyTree) -> Step:
        """Compiles a step that takes what `place` and `shard` return.

        Args:
          step: the pure function, which averages over `axis_name`.
          state: placed; only shapes matter.
        """
        del state
        return jax.jit(step, donate_argnums=0)

    def compile_evaluation(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles (gathered state, spread batch) -> what every device gets whole."""
        return jax.jit(step, out_shardings=NamedSharding(self.mesh, PartitionSpec()))

    def gather(self, state: PyTree) -> PyTree:
        """Returns a placed state as global arrays, to be saved and evaluated."""
        return state

    @property
    def shares_threads(self) -> bool:
        """Whether two steps must not be in flight at once.

        Devices of one CPU share a pool of threads. If two steps do, too, all threads
        may wait for devices that have none (seen once in 760 steps, jax 0.10.2).
        """
        return self.mesh.size > 1 and self.mesh.devices.flat[0].platform == "cpu"

    def _sharding(self, x: Any) -> NamedSharding:
        del x
        return NamedSharding(self.mesh, PartitionSpec())


class OneDevice(Strategy):
    """ "jit": the whole batch on the first device.

    Raises:
      UserError: in a run of several processes.
    """

    def __init__(self) -> None:
        if jax.process_count() > 1:
            raise errors.UserError("one device cannot be shared by several processes")
        self.mesh = _mesh(jax.devices()[:1])


class FullySharded(Strategy):
    """ "fully_sharded": every array is spread along its longest axis that divides.

    XLA gathers parameters where they are used. Arrays without such an axis, and those
    of less than 1,024 numbers, are on all devices.
    """

    def compile(self, step: Step, state: PyTree) -> Step:
        """Compiles; the state stays spread."""
        shardings = (self.shardings(state), None)
        return jax.jit(step, donate_argnums=0, out_shardings=shardings)

    def _sharding(self, x: Any) -> NamedSharding:
        count = self.mesh.size
        sizes = [size if size % count == 0 else 0 for size in x.shape]
        spec: list[str | None] = [None] * x.ndim
        if x.size >= 1024 and max(sizes):
            spec[int(np.argmax(sizes))] = AXIS
        return NamedSharding(self.mesh, PartitionSpec(*spec))


class ShardMapped(Strategy):
    """ "shard_map": every device runs the step on its part of the batch."""

    axis_name = AXIS

    def compile(self, step: Step, state: PyTree) -> Step:
        """Compiles the step of one device for all of them."""
        del state
        mapped = jax.shard_map(
            step,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS), PartitionSpec()),
            out_specs=PartitionSpec(),
        )
        return jax.jit(mapped, donate_argnums=0)


class Pmapped(Strategy):
    """ "pmap": the same, for code that knows `pmap`: arrays have an axis of devices."""

    axis_name = AXIS

    def place(self, state: PyTree) -> PyTree:
        """Returns copies of the state, one per device, along a new first axis."""
        return flax.jax_utils.replicate(state)

    def shard(self, batch: PyTree) -> PyTree:
        """Splits the first axis of arrays in two: devices, and images of each."""
        count = jax.local_device_count()
        return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)

    def compile(self, step: Step, state: PyTree) -> Step:
        """Compiles; metrics have no axis of devices."""
        del state
        mapped = jax.pmap(
            step,
            axis_name=AXIS,
            in_axes=(0, 0, None),
            donate_argnums=0,
        )

        def run(state: PyTree, batch: PyTree, key: jax.Array) -> tuple[PyTree, PyTree]:
            state, metrics = mapped(state, batch, key)
            return state, _first(metrics)

        return run

    def gather(self, state: PyTree) -> PyTree:
        """Returns the first device's state, on all devices of the mesh."""
        return replicate(jax.device_get(_first(state)), self.mesh)


STRATEGIES: dict[str, type[Strategy]] = {
    "jit": OneDevice,
    "sharded": Strategy,
    "fully_sharded": FullySharded,
    "shard_map": ShardMapped,
    "pmap": Pmapped,
}


def join(coordinator: str, num_processes: int, process_id: int) -> None:
    """Makes this process one of several that train together; comes before all else.

    When one of them dies, the others end with an error within half a minute.

    Args:
      coordinator: "address:port" of process 0; "auto" on clusters that say everything
        themselves (TPU pods, Slurm, Open MPI).
      num_processes: how many there are.
      process_id: which of them this is.

    Raises:
      UserError: if the address or a number is not possible.
    """
    if coordinator == "auto":
        jax.distributed.initialize(heartbeat_timeout_seconds=_HEARTBEAT_SECONDS)
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise errors.UserError(
            f"the coordinator is {coordinator!r}; it has to be address:port, or auto"
        )
    if not 0 <= process_id < num_processes:
        raise errors.UserError(
            f"process {process_id} cannot be one of {num_processes}; they count from 0"
        )
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
    )


def is_first_process() -> bool:
    """Says whether this is the process that writes what all of them have."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns when every process has called this with the same name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def create_strategy(name: str) -> Strategy:
    """Returns how devices share a step, by name.

    Raises:
      UserError: if there is no strategy of that name.
    """
    if name not in STRATEGIES:
        raise errors.unknown("way to run in parallel", name, STRATEGIES)
    return STRATEGIES[name]()


def data_mesh() -> Mesh:
    """Returns all devices in one row, along the axis "batch"."""
    return _mesh(jax.devices())


def _mesh(devices: Sequence[Any]) -> Mesh:
    return jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


def _first(tree: PyTree) -> PyTree:
    """Returns what the first of this process's devices holds, without its axis."""
    return jax.tree.map(lambda x: x.addressable_data(0)[0], tree)


def check_batch_size(
    batch_size: int, num_examples: int, num_devices: int, micro_batches: int = 1
) -> None:
    """Raises a UserError unless batches can be filled and shared by all devices.

    Args:
      batch_size: images per batch, over all devices.
      num_examples: images in the data set.
      num_devices: how many share a batch.
      micro_batches: in how many parts each of them takes its share.
    """
    if not 1 <= batch_size <= num_examples:
        raise errors.UserError(
            f"batch size {batch_size} does not fit a data set of {num_examples} images"
        )
    if batch_size % (num_devices * micro_batches):
        parts = f" times {micro_batches} micro-batches" if micro_batches > 1 else ""
        raise errors.UserError(
            f"batch size {batch_size} is not divisible by {num_devices} devices{parts}"
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
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )
