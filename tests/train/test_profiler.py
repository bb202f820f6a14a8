"""Traces hold the calls that were asked for, and change nothing."""

import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from cnnjax.train import profiled


def steps_traced(folder):
    (path,) = folder.rglob("*.trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    named = [e["args"]["step_num"] for e in events if e.get("name") == "train"]
    return sorted(map(int, named))


@pytest.mark.parametrize("calls, traced", [(6, [2, 3]), (3, [2])])
def test_traces_some_calls(tmp_path, calls, traced):
    """Even if the run ends before the trace does."""
    with profiled(jax.jit(jnp.sin), tmp_path / "p", skipped=2, count=2) as step:
        for _ in range(calls):
            assert step(0.0) == 0.0
    assert steps_traced(tmp_path / "p") == traced


def test_traces_nothing(tmp_path):
    with profiled(jax.jit(jnp.sin), tmp_path / "p", skipped=0, count=0) as step:
        step(0.0)
    assert not (tmp_path / "p").exists()
