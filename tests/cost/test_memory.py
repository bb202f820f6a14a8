"""The most memory at one time, and what counting itself takes."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import cnnjax
from cnnjax import cost


def test_peak_memory():
    """Products are stored; what is computed number by number is where its input was."""

    def chain(x, a, b):
        return jnp.tanh(jax.nn.relu(x @ a) @ b)

    # Both sides of the second product: [4, 8] and [4, 2] of float32.
    report = cost.analyze(chain, (4, 4), (4, 8), (8, 2))
    assert report.peak_memory_bytes == 4 * (4 * 8 + 4 * 2)

    def kept(x, a):
        y = x @ a
        return y + jnp.tanh(y @ y)

    assert cost.analyze(kept, (4, 4), (4, 4)).peak_memory_bytes == 4 * 2 * 16


@pytest.mark.usefixtures("unchecked_shapes")
def test_rematerialised_training_takes_less_memory():
    def peak(**options):
        model = cnnjax.create("resnet56_cifar", **options)
        training = {"with_gradient": True, "train": True}
        return cost.analyze(model, (8, 32, 32, 3), **training).peak_memory_bytes

    assert 3 * peak(remat=True) < peak()


LARGE = [("efficientnet_b7", {}, 600), ("resnet1202_cifar", {"scan": True}, 32)]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name, options, size", LARGE)
def test_large_networks_take_no_arrays(name, options, size):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "compile" in event else None
    )
    report = cost.analyze(cnnjax.create(name, **options), (1, size, size, 3))
    assert not [event for event in compiled if "backend_compile" in event]
    assert report.macs > 2e9
    jax.jit(lambda x: x + size)(1.0)  # Whatever computes is compiled, and so noticed.
    assert [event for event in compiled if "backend_compile" in event]


@pytest.mark.slow
@pytest.mark.parametrize("name, options, size", LARGE)
def test_large_networks_take_seconds(name, options, size):
    """In a process of its own: in one that has run a thousand tests all is slower."""
    code = (
        "import time, cnnjax\n"
        "from cnnjax import cost\n"
        "start = time.process_time()\n"
        f"model = cnnjax.create({name!r}, **{options!r})\n"
        f"cost.analyze(model, (1, {size}, {size}, 3))\n"
        "print(time.process_time() - start)"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert float(shown) < 10


def test_loops_keep_what_they_read_and_collect():
    x, w = (100, 50), (50, 200)

    def read(x, w):
        return jax.lax.scan(lambda c, y: (c + y.sum(), None), 0.0, x @ w)[0]

    assert cost.analyze(read, x, w).peak_memory_bytes >= 4 * 100 * 200

    def collect(x, w):
        states = jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), c), x, length=30)[1]
        return jnp.square(states).sum()

    peak = cost.analyze(collect, (10, 10), (10, 10)).peak_memory_bytes
    assert 30 * 400 <= peak < 36 * 400

    def run(scan, ws):
        def body(c, w):
            return jnp.tanh(c @ w), None

        if scan:
            return jax.lax.scan(body, jnp.ones((1000, 8)), ws)[0].sum()
        c = jnp.ones((1000, 8))
        for w in ws:
            c, _ = body(c, w)
        return c.sum()

    gradients = [jax.grad(lambda ws, s=s: run(s, ws)) for s in (True, False)]
    scanned, unrolled = (cost.analyze(g, (20, 8, 8)) for g in gradients)
    # The loop also differentiates by its first carry.
    assert scanned.macs == unrolled.macs + 1000 * 8 * 8
    compiled = jax.jit(gradients[0]).lower(jnp.ones((20, 8, 8))).compile()
    taken = compiled.memory_analysis().temp_size_in_bytes
    assert 0.8 < scanned.peak_memory_bytes / taken < 1.2


def test_long_kernels_take_no_memory():
    report = cost.analyze(jnp.convolve, (8192,), (8192,))
    assert report.macs_in_bounds == 8192**2
