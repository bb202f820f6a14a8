"""Measures how long a train step compiles: ResNet-1202 against ResNet-110.

Claim: depth costs no compile time, since `scan=True` compiles one of a stage's like
blocks. A step of ResNet-1202 compiles in at most three times the time of ResNet-110.

    python experiments/compile_depth.py

Tracing, lowering and XLA's compilation of one step of SGD with momentum, batch 128 of
32x32 images, blocks rematerialised (else ResNet-1202 needs 18 GB); medians of rounds
that alternate between the networks, each a compilation of its own. Nothing runs, so no
memory is needed.
"""

import dataclasses
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import optax

import cnnjax
from cnnjax import cli, train


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the measurement."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""

    shallow: str = "resnet110_cifar"
    """The network to compare with."""
    deep: str = "resnet1202_cifar"
    """The network that should not take much longer."""
    batch_size: int = 128
    """Images of a step."""
    rounds: int = 3
    """Compilations of each."""


PRESETS = {
    "default": Config(),
    "smoke": Config("smoke", "resnet20_cifar", "resnet32_cifar", 2, 1),
}


def compile_seconds(name: str, batch_size: int) -> float:
    """Returns how long a train step of a network takes to compile."""
    model = cnnjax.create(name, scan=True, remat=True)
    tx = optax.sgd(0.1, momentum=0.9)
    image = jax.ShapeDtypeStruct((batch_size, 32, 32, 3), jnp.float32)
    label = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    key = jax.random.key(0)
    state = jax.eval_shape(lambda x: train.init_state(model, tx, key, x), image)
    start = time.perf_counter()
    step = jax.jit(functools.partial(train.train_step, model, tx))
    step.lower(state, {"image": image, "label": label}, key).compile()
    return time.perf_counter() - start


def main(config: Config) -> float:
    """Prints the medians and returns their ratio."""
    seconds = {config.shallow: [], config.deep: []}
    for _ in range(config.rounds):
        for name, found in seconds.items():
            found.append(compile_seconds(name, config.batch_size))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.1f} s")
    ratio = medians[config.deep] / medians[config.shallow]
    print(f"{config.deep} / {config.shallow}: {ratio:.2f}")
    return ratio


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
