"""Runs of several processes, and those that go on with others than they began with."""

import shutil
import signal
import socket
import time

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from runs import finish, results, start, wait_until

import cnnjax
from cnnjax import train


def start_two(data_dir, run_dir, *more, last=(), **options):
    """Starts a run of two processes with two devices each; the first one logs.

    The second has more arguments, `last`; `options` are those of `start`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = ("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2")
    folders = run_dir, run_dir.with_name(f"{run_dir.name}-too")
    folders[1].symlink_to(run_dir)  # So that each has a log of its own.
    return [
        start(
            data_dir,
            folder,
            *together,
            "--process-id",
            str(i),
            *more,
            *extra,
            **options,
        )
        for i, (folder, extra) in enumerate(zip(folders, ((), last), strict=True))
    ]


def params_at(run_dir, step):
    """Returns the parameters of a smoke run's checkpoint of that step."""
    model = cnnjax.create("resnet20_cifar", num_classes=10)
    tx = train.create_optimizer("sgd", learning_rate=optax.constant_schedule(0.1))
    state = train.init_state(model, tx, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    with train.Checkpointer(run_dir / "checkpoints") as checkpointer:
        assert checkpointer.latest_step() == 8
        state, _ = checkpointer.restore(state, step)
    return state.params


# Programs for other numbers of devices round differently, and a ReLU whose input is 0
# but for rounding passes its gradient on in one of them alone. At the preset's rate one
# such input moves parameters by more than 1e-5.
SMALL_RATE = ("--learning-rate", "0.0001")


@pytest.fixture(scope="module")
def unbroken_run(data_dir, tmp_path_factory):
    """The folder of a run compiled as for users: others round farther apart."""
    run_dir = tmp_path_factory.mktemp("runs") / "unbroken"
    finish(start(data_dir, run_dir, *SMALL_RATE, optimised=True))
    return run_dir


def resume(unbroken_run, run_dir):
    """Copies what the run had saved at half its way; returns options to go on with."""
    shutil.copytree(unbroken_run, run_dir)
    shutil.rmtree(run_dir / "checkpoints" / "8")
    return ("--resume", *SMALL_RATE)


def assert_ends_as(unbroken_run, run_dir):
    """The same parameters to 1e-5, some of which the four steps moved by 2e-4."""
    expected = params_at(unbroken_run, 8)
    chex.assert_trees_all_close(params_at(run_dir, 8), expected, atol=1e-5, rtol=0)
    half_way = params_at(unbroken_run, 4)
    moved = jax.tree.map(lambda a, b: abs(a - b).max(), half_way, expected)
    assert max(jax.tree.leaves(moved)) > 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_a_run_goes_on_with_another_number_of_devices(
    unbroken_run, data_dir, tmp_path, devices
):
    run_dir = tmp_path / "run"
    options = resume(unbroken_run, run_dir)
    again = start(data_dir, run_dir, *options, devices=devices, optimised=True)
    output = finish(again)
    assert "the run continues at step 4 of 8" in output
    assert results(run_dir)["device"].startswith(f"{devices} x")
    assert_ends_as(unbroken_run, run_dir)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_pre_emption_of_one_process_saves_once_and_ends_all(data_dir, tmp_path, victim):
    """And one process alone goes on."""
    run_dir = tmp_path / "run"
    checkpoints = run_dir / "checkpoints"
    runs = start_two(data_dir, run_dir, "--epochs", "15")
    wait_until(runs[0], (checkpoints / "4" / "MANIFEST.sha256").exists)
    runs[victim][0].send_signal(signal.SIGTERM)
    outputs = [finish(run) for run in runs]
    assert outputs[0].count("saved; continue with") == 1
    assert "saved" not in outputs[1]
    last = max(int(path.name) for path in checkpoints.iterdir())
    assert (checkpoints / str(last) / "MANIFEST.sha256").exists()
    assert not (run_dir / "results.json").exists()
    log = finish(start(data_dir, run_dir, "--resume", "--epochs", "15"))
    assert f"the run continues at step {last} of 60" in log


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_and_resuming_goes_on(data_dir, tmp_path, victim):
    run_dir = tmp_path / "run"
    runs = start_two(data_dir, run_dir, "--epochs", "400")
    wait_until(runs[0], (run_dir / "checkpoints" / "8" / "MANIFEST.sha256").exists)
    runs[victim][0].kill()
    killed = time.monotonic()
    assert runs[1 - victim][0].wait(timeout=60) != 0
    assert time.monotonic() - killed < 60
    for run in runs:
        run[0].wait()
    again = tmp_path / "again"
    shutil.copytree(run_dir, again)
    runs = start_two(data_dir, again, "--resume", "--epochs", "400")
    wait_until(runs[0], lambda: "the run continues at step" in runs[0][1].read_text())
    newest = max(int(p.name) for p in (again / "checkpoints").iterdir())
    later = again / "checkpoints" / str(newest + 4) / "MANIFEST.sha256"
    wait_until(runs[0], later.exists)
    for run in runs:
        run[0].kill()
        run[0].wait()


@pytest.mark.slow
def test_an_error_of_one_process_ends_all(data_dir, tmp_path):
    run_dir = tmp_path / "run"
    runs = start_two(data_dir, run_dir, "--epochs", "400", last=("--teacher", "none"))
    begun = time.monotonic()
    assert "error: " in finish(runs[1], 2)
    assert runs[0][0].wait(timeout=120) != 0
    assert time.monotonic() - begun < 120  # Both have to start first.


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(
    unbroken_run, data_dir, tmp_path
):
    run_dir = tmp_path / "run"
    options = resume(unbroken_run, run_dir)
    runs = start_two(data_dir, run_dir, *options, optimised=True)
    output, _ = [finish(run) for run in runs]
    assert "the run continues at step 4 of 8" in output
    assert results(run_dir)["device"].startswith("4 x")
    assert_ends_as(unbroken_run, run_dir)
