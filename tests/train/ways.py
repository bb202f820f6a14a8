"""Trains tiny networks for three steps in one way; a process of test_parallel.py."""

import argparse
import functools
import os

import numpy as np


parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
parser.add_argument("--devices", type=int, required=True)
parser.add_argument("--process", type=int, default=0)
parser.add_argument("--processes", type=int, default=1)
parser.add_argument("--port", type=int)
parser.add_argument("--ways", nargs="+", required=True)
parser.add_argument("--networks", nargs="+", required=True)
OPTIONS = parser.parse_args()

import jax  # noqa: E402


jax.config.update("jax_num_cpu_devices", OPTIONS.devices)
jax.config.update("jax_disable_most_optimizations", True)
if OPTIONS.processes > 1:
    address = f"127.0.0.1:{OPTIONS.port}"
    jax.distributed.initialize(address, OPTIONS.processes, OPTIONS.process)

import flax.traverse_util  # noqa: E402
import optax  # noqa: E402

from cnnjax import train  # noqa: E402
from cnnjax.models.convnext import ConvNeXt  # noqa: E402
from cnnjax.models.resnet_cifar import CifarResNet  # noqa: E402
from cnnjax.train import parallel  # noqa: E402


TX = optax.sgd(0.1, momentum=0.9)
MODELS = {
    "batch_norm": CifarResNet(depths=(1, 1), num_classes=4),
    "layer_norm": ConvNeXt(
        depths=(2,), features=8, num_classes=4, image_size=8, drop_path_rate=0.0
    ),
    "drop_path": ConvNeXt(
        depths=(2,), features=8, num_classes=4, image_size=8, drop_path_rate=0.5
    ),
}


def batch(step):
    """The whole batch of a step, of which each process takes its part."""
    rng = np.random.default_rng(step)
    image = rng.normal(size=(16, 8, 8, 3)).astype(np.float32)
    label = rng.integers(0, 4, 16, dtype=np.int32)
    start = OPTIONS.process * 16 // OPTIONS.processes
    mine = slice(start, start + 16 // OPTIONS.processes)
    return {"image": image[mine], "label": label[mine]}


def run(model, way):
    """Returns the state, and the last metrics, after three steps."""
    strategy = parallel.create_strategy(way)
    model = model.clone(axis_name=strategy.axis_name)
    key = jax.random.key(0)
    init = functools.partial(train.init_state, model, TX, key)
    initial = jax.jit(init)(np.zeros((1, 8, 8, 3), np.float32))
    state = strategy.place(initial)
    pure = functools.partial(train.train_step, model, TX, axis_name=strategy.axis_name)
    step = strategy.compile(pure, state)
    for i in range(3):
        state, metrics = step(state, strategy.shard(batch(i)), key)
    jax.tree.map(np.asarray, initial)  # Donation left it alone.
    return strategy.gather(state), metrics


def whole(x):
    """Returns a global array on this process."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


results = {}
for way in OPTIONS.ways:
    for name in OPTIONS.networks:
        found = run(MODELS[name], way)
        tree = {
            "state": flax.serialization.to_state_dict(found[0]),
            "metrics": found[1],
        }
        for path, leaf in flax.traverse_util.flatten_dict(tree, sep="/").items():
            results[f"{way}:{name}:{path}"] = whole(leaf)
if OPTIONS.process == 0:
    np.savez(OPTIONS.out, **results)
print("devices", jax.device_count(), os.getpid())
