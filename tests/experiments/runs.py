"""Runs of `classify.py` in processes of their own, as a user starts them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "classify.py"
# Compiling is what takes their time. Runs have the same bits if all do so.
UNOPTIMISED = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def arguments(data_dir, run_dir, *more):
    options = ["--preset", "smoke", "--data-dir", data_dir, "--run-dir", run_dir]
    return [*map(str, options), *more]


def start(data_dir, run_dir, *more, devices=2, optimised=False):
    """Starts a run as a user would, in a process of its own.

    Its output goes into a file: a pipe that nobody empties would stop the run.
    """
    command = [sys.executable, str(SCRIPT), *arguments(data_dir, run_dir, *more)]
    path = Path(run_dir).with_suffix(".log")
    environment = os.environ | ({} if optimised else UNOPTIMISED)
    environment |= {"PYTHONUNBUFFERED": "1", "JAX_NUM_CPU_DEVICES": str(devices)}
    with path.open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    return process, path


def wait_until(run, reached):
    process, log = run
    while not reached():
        assert process.poll() is None, log.read_text()
        time.sleep(0.002)


def finish(run, status=0):
    """Returns all that a run printed."""
    process, log = run
    process.wait(timeout=300)
    assert process.returncode == status, log.read_text()
    return log.read_text()


def results(run_dir):
    return json.loads((run_dir / "results.json").read_text())


def fingerprint(run_dir):
    return results(run_dir)["params_sha256"]
