"""Compiles one train step for TPUs that are not here; `aot_tpu.py` starts it.

    python experiments/aot_compile.py JOB.json RESULT.json

It is a process of its own because libtpu may abort, and needs a large stack.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import hlo_text
import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cnnjax import recipes, train
from cnnjax.train.parallel import AXIS


CLASSES = {"imagenet2012": 1000, "cifar10": 10, "digits": 10}


@dataclasses.dataclass(frozen=True)
class Job:
    """What to compile.

    Attributes:
      topology: the slice, e.g. "v5e:2x2".
      recipe: a name from `cnnjax.recipes.PUBLISHED`; "" only looks the topology up.
      dtype: of the network's products.
      batch_size: images on all chips.
      hlo: where the compiled program goes as text.
    """

    topology: str
    recipe: str = ""
    dtype: str = ""
    batch_size: int = 0
    hlo: str = ""

    @property
    def sides(self) -> tuple[int, ...]:
        """How many chips there are in each direction."""
        return tuple(map(int, self.topology.partition(":")[2].split("x")))


def prepare(name: str, dtype: str) -> tuple[Any, Any, tuple[int, ...]]:
    """Returns a recipe with another dtype, its network, and the shape of an image."""
    published = recipes.PUBLISHED[name]
    recipe = dataclasses.replace(published.recipe, dtype=dtype)
    model = recipe.create_model(num_classes=CLASSES[published.dataset])
    return recipe, model, (recipe.image_size, recipe.image_size, 3)


def lower(job: Job, mesh: Mesh) -> Any:
    """Traces the step that `Strategy` "sharded" runs, from shapes alone."""
    recipe, model, image = prepare(job.recipe, job.dtype)
    tx = recipe.create_optimizer(recipe.create_schedule(steps_per_epoch=1000))
    images = jax.ShapeDtypeStruct((job.batch_size, *image), jnp.float32)
    labels = jax.ShapeDtypeStruct((job.batch_size,), jnp.int32)
    key = jax.eval_shape(lambda: jax.random.key(0))

    def init(key, image):
        return train.init_state(model, tx, key, image, **recipe.init_options())

    state = jax.eval_shape(init, key, jax.ShapeDtypeStruct((1, *image), jnp.float32))
    step = recipe.create_step(model, tx, num_classes=model.num_classes)
    everywhere = NamedSharding(mesh, PartitionSpec())
    spread = NamedSharding(mesh, PartitionSpec(AXIS))
    jitted = jax.jit(
        step, in_shardings=(everywhere, spread, everywhere), donate_argnums=0
    )
    return jitted.lower(state, {"image": images, "label": labels}, key)


def compile_step(job: Job) -> dict[str, Any]:
    """Compiles and describes the program of one chip, in bytes."""
    description = topologies.get_topology_desc(
        platform="tpu", topology_name=job.topology
    )
    if not job.recipe:
        return {}
    devices = description.devices
    mesh = jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )
    lowered = lower(job, mesh)
    start = time.process_time()
    compiled = lowered.compile()
    seconds = time.process_time() - start
    text = compiled.as_text()
    Path(job.hlo).write_text(text)
    found = hlo_text.collectives(text)
    memory = compiled.memory_analysis()
    return {
        "compile_s": seconds,
        "memory": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes,
        "flops": compiled.cost_analysis()["flops"],
        "traffic": hlo_text.main_memory_bytes(text),
        "cycles": hlo_text.estimated_cycles(text),
        "all_reduces": [x.num_bytes for x in found if x.op == "all-reduce"],
        "others": [x.num_bytes for x in found if x.op != "all-reduce"],
    }


if __name__ == "__main__":
    try:
        result = compile_step(Job(**json.loads(Path(sys.argv[1]).read_text())))
    except jax.errors.JaxRuntimeError as error:
        result = {"error": str(error).splitlines()[0]}
    Path(sys.argv[2]).write_text(json.dumps(result))
