"""Every way of running a step gives the update of one device with the whole batch."""

import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.train import parallel


PROGRAM = Path(__file__).with_name("ways.py")
NETWORKS = ("batch_norm", "layer_norm")
WAYS = ("sharded", "fully_sharded", "shard_map", "pmap")


def start(out, *options):
    command = [sys.executable, str(PROGRAM), "--out", str(out), *map(str, options)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(*processes):
    for process in processes:
        printed = process.communicate(timeout=300)[0]
        assert process.returncode == 0, printed[-3000:]


def by_way(path):
    """Returns {way: {network and path: array}}."""
    found = {}
    with np.load(path) as arrays:
        for key, value in arrays.items():
            way, _, rest = key.partition(":")
            found.setdefault(way, {})[rest] = value
    return found


def one_process(out, ways, networks):
    """Returns what eight devices of one process compute."""
    finish(start(out, "--devices", 8, "--ways", *ways, "--networks", *networks))
    return by_way(out)


def two_processes(out, ways, networks):
    """Returns what two processes of four devices each compute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--devices", 4, "--processes", 2, "--port", port)
    options += ("--ways", *ways, "--networks", *networks)
    finish(*(start(out, *options, "--process", i) for i in range(2)))
    return by_way(out)


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    out = tmp_path_factory.mktemp("ways") / "eight.npz"
    return one_process(out, ("jit", *WAYS), ["batch_norm"])


def assert_agree(found, expected):
    """Parameters, statistics, the optimiser's memory and metrics, after three steps."""
    assert found.keys() == expected.keys() and len(expected) > 20
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("way", WAYS)
def test_eight_devices_agree_with_one(eight, way):
    assert_agree(eight[way], eight["jit"])


def test_two_processes_agree_with_one_device(eight, tmp_path):
    found = two_processes(tmp_path / "two.npz", ("sharded",), ["batch_norm"])
    assert_agree(found["sharded"], eight["jit"])


@pytest.mark.slow
def test_every_way_agrees_for_every_network(tmp_path):
    eight = one_process(tmp_path / "eight.npz", ("jit", *WAYS), NETWORKS)
    two = two_processes(tmp_path / "two.npz", WAYS, NETWORKS)
    for way in WAYS:
        assert_agree(eight[way], eight["jit"])
        assert_agree(two[way], eight["jit"])


@pytest.mark.slow
def test_randomness(tmp_path):
    """Where XLA sees the whole batch it draws as one device; else each device draws."""
    networks = ["drop_path"]
    eight = one_process(tmp_path / "eight.npz", ("jit", *WAYS), networks)
    two = two_processes(tmp_path / "two.npz", WAYS, networks)
    for found in (eight, two):
        assert_agree(found["sharded"], eight["jit"])
        assert_agree(found["fully_sharded"], eight["jit"])
        assert_agree(found["pmap"], eight["shard_map"])


def test_placing_copies_and_the_step_may_write_over_the_copy():
    strategy = parallel.create_strategy("sharded")
    state = strategy.place(parallel.replicate({"w": jnp.ones(4)}, strategy.mesh))
    placed = strategy.place(state)
    step = strategy.compile(
        lambda s, b, k: (jax.tree.map(lambda x: x + 1, s), {}), placed
    )
    updated, _ = step(placed, {}, jax.random.key(0))
    assert placed["w"].is_deleted() and not state["w"].is_deleted()
    np.testing.assert_array_equal(updated["w"], 2 * np.ones(4))


def test_fully_sharded_spreads_what_is_large():
    strategy = parallel.create_strategy("fully_sharded")
    state = {
        "kernel": jnp.zeros((3, 3, 64, 32)),
        "odd": jnp.zeros((333, 33)),
        "b": jnp.zeros(8),
    }
    placed = strategy.place(state)
    shards = {name: x.addressable_shards[0].data.shape for name, x in placed.items()}
    assert shards == {"kernel": (3, 3, 32, 32), "odd": (333, 33), "b": (8,)}
    step = strategy.compile(lambda s, b, k: (s, {}), placed)
    kept, _ = step(placed, {}, jax.random.key(0))
    assert kept["kernel"].addressable_shards[0].data.shape == (3, 3, 32, 32)


def test_unknown_way():
    with pytest.raises(UserError, match="did you mean shard_map, sharded"):
        parallel.create_strategy("sharded_map")


def test_steps_of_virtual_devices_are_not_in_flight_together():
    assert parallel.create_strategy("sharded").shares_threads
    assert not parallel.create_strategy("jit").shares_threads
