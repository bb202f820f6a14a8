"""The first command of the README: real runs, killed runs, and bad requests."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import classify
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from runs import (
    SCRIPT,
    UNOPTIMISED,
    arguments,
    fingerprint,
    finish,
    results,
    start,
    wait_until,
)

import cnnjax
from cnnjax import cli
from cnnjax.train import read_metrics


def test_smoke_run_is_complete(smoke_run):
    run_dir, output = smoke_run
    assert "epoch 2/2  step 8/8" in output
    assert "test accuracy" in output
    found = results(run_dir)
    assert found["test_images"] == 40
    assert (found["test_accuracy"] * 40) % 1 == pytest.approx(0, abs=1e-4)
    assert found["seed"] == 0
    assert found["config"]["epochs"] == 2
    assert found["versions"]["jax"]
    assert found["seconds"] > 0
    records = read_metrics(run_dir)
    assert [r["step"] for r in records] == [4, 4, 8, 8]
    assert {p.name for p in (run_dir / "checkpoints").iterdir()} >= {"4", "8"}


def test_smoke_run_draws_its_pictures(smoke_run):
    for name in ("curves", "confusion", "misclassified"):
        with Image.open(smoke_run[0] / f"{name}.png") as picture:
            assert min(picture.size) > 200


@pytest.mark.slow  # Runs that were killed have the same bits, too.
def test_same_seed_gives_the_same_bits_and_another_seed_does_not(
    smoke_run, data_dir, tmp_path
):
    finish(start(data_dir, tmp_path / "same"))
    finish(start(data_dir, tmp_path / "other", "--seed", "1"))
    assert fingerprint(tmp_path / "same") == fingerprint(smoke_run[0])
    assert fingerprint(tmp_path / "other") != fingerprint(smoke_run[0])


@pytest.mark.parametrize(
    "moment",
    [
        *(
            pytest.param(m, marks=pytest.mark.slow)
            for m in ("at once", "config", "saved", "epoch")
        ),
        "saving",
    ],
)
def test_a_killed_run_continues_to_the_same_bits(smoke_run, data_dir, tmp_path, moment):
    run_dir = tmp_path / "run"
    checkpoints = run_dir / "checkpoints"
    reached = {
        "at once": lambda: True,
        "config": lambda: (run_dir / "config.json").exists(),
        "saving": lambda: any(checkpoints.glob("saving-4")),
        "saved": lambda: (checkpoints / "4" / "MANIFEST.sha256").exists(),
        "epoch": lambda: (checkpoints / "8").exists(),
    }[moment]
    run = start(data_dir, run_dir)
    wait_until(run, reached)
    run[0].kill()
    finish(run, -signal.SIGKILL)
    assert not (run_dir / "results.json").exists()
    finish(start(data_dir, run_dir, "--resume"))
    assert fingerprint(run_dir) == fingerprint(smoke_run[0])
    records = read_metrics(run_dir)
    assert [r["step"] for r in records] == [4, 4, 8, 8]


@pytest.mark.parametrize(
    "number, status",
    [
        (signal.SIGTERM, 0),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_prints_the_command_that_continues_it(
    smoke_run, data_dir, tmp_path, number, status
):
    run_dir = tmp_path / "run"
    run = start(data_dir, run_dir)
    wait_until(run, (run_dir / "metrics.jsonl").exists)  # The loop is about to begin.
    time.sleep(0.3)
    run[0].send_signal(number)
    output = finish(run, status)
    command = re.search(r"^python (.*)$", output, re.MULTILINE).group(1)
    assert command.endswith(f"--run-dir {run_dir} --resume")
    resumed = subprocess.run(
        [sys.executable, *command.split()],
        env=os.environ | UNOPTIMISED,
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.search(r"the run continues at step \d of 8", resumed.stdout)
    assert fingerprint(run_dir) == fingerprint(smoke_run[0])


def run_here(monkeypatch, *arguments):
    """Runs the command line in this process; returns the exit status."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit:
        cli.run(classify.main, classify.PRESETS, classify.__doc__)
    signal.signal(signal.SIGTERM, before)
    return exit.value.code


def test_a_finished_run_says_so_and_evaluates(smoke_run, data_dir, monkeypatch, capsys):
    run_dir, _ = smoke_run
    before = results(run_dir)
    (run_dir / "results.json").unlink()
    assert run_here(monkeypatch, *arguments(data_dir, run_dir, "--resume")) == 0
    assert "the run finished at step 8 of 8" in capsys.readouterr().out
    for key in ("test_accuracy", "params_sha256", "validation_accuracy"):
        assert results(run_dir)[key] == before[key]


@pytest.mark.slow
def test_a_student_learns_from_a_run(smoke_run, data_dir, tmp_path):
    """By hints and answers; stops early; is traced; its weights are a model again."""
    run_dir = tmp_path / "run"
    teacher = str(smoke_run[0] / "model.safetensors")
    options = "--hint stage2 --hint-epochs 1 --patience 1 --profile 2 --dtype float16 "
    options += "--eval-size 16 "
    options += "--mixup 0.2 --ema-decay 0.9 --micro-batches 2 --rand-augment 5"
    finish(start(data_dir, run_dir, "--teacher", teacher, *options.split()))
    found, train_log = results(run_dir), read_metrics(run_dir)
    validation = {
        r["step"]: r["accuracy"] for r in train_log if r["split"] == "validation"
    }
    assert validation[found["num_steps"]] == max(validation.values())
    assert found["speed"]["images_per_second"] > 0
    assert any((run_dir / "profile").rglob("*.xplane.pb"))
    assert all(0 < r["loss_scale"] <= 2**16 for r in train_log if r["split"] == "train")
    model, variables = cnnjax.weights.restore(run_dir / "model.safetensors")
    assert model.num_classes == 10 and model.dtype == jnp.float16
    sizes = [p.size for p in jax.tree.leaves(variables["params"])]
    regressor = 32 * 32 + 32
    assert sum(sizes) == found["num_params"] - regressor


RECIPES = {
    "pmap": "--parallel pmap --micro-batches 2 --ema-decay 0.9 --mixup 0.2 --cutmix 1 "
    "--label-smoothing 0.1 --clip-norm 1 --crop padded --flip --rand-augment 5 "
    "--erasing 0.2 --optimizer adamw --learning-rate 0.001",
    "fully_sharded": "--parallel fully_sharded --dtype bfloat16 --optimizer lamb "
    "--crop resized --schedule linear",
    "shard_map": "--parallel shard_map --local-batch-norm --optimizer momentum",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_run(data_dir, tmp_path, name):
    run_dir = tmp_path / "run"
    finish(start(data_dir, run_dir, *RECIPES[name].split()))
    assert 0 <= results(run_dir)["test_accuracy"] <= 1
    losses = [r["loss"] for r in read_metrics(run_dir) if r["split"] == "train"]
    assert np.isfinite(losses).all()


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    smoke_run, data_dir, tmp_path
):
    run_dir = tmp_path / "run"
    shutil.copytree(smoke_run[0], run_dir)
    (victim,) = (run_dir / "checkpoints" / "8" / "document").glob("metadata")
    victim.write_bytes(victim.read_bytes()[:-1])
    output = finish(start(data_dir, run_dir, "--resume"))
    assert victim.name in output
    assert "the run continues at step 4 of 8" in output
    assert fingerprint(run_dir) == fingerprint(smoke_run[0])


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model", "resnet-20"], "unknown model 'resnet-20'; did you mean"),
        (["--model", "unet_padded"], "unet_padded is a UNet, not a classifier"),
        (["--dataset", "digitz"], "unknown data set 'digitz'; did you mean digits"),
        (["--dataset", "cifar10"], "'cifar10' is not prepared in .*cnnjax[tf]"),
        (["--optimizer", "sdg"], "unknown optimizer 'sdg'; did you mean sgd"),
        (["--schedule", "cosin"], "unknown schedule 'cosin'; did you mean cosine"),
        (["--epohcs", "3"], "unknown option '--epohcs'; did you mean --epochs"),
        (["--preset", "smok"], "unknown preset 'smok'; did you mean smoke"),
        (["--train-split", "trian"], "no split 'trian'; there are train, validation"),
        (["--batch-size", "129"], "batch size 129 does not fit a data set of 128"),
        (["--batch-size", "15"], "batch size 15 is not divisible by 2 devices"),
        (["--batch-size", "0"], "--batch-size is 0; it must be positive"),
        (["--epochs", "-1"], "--epochs is -1; it must be positive"),
        (["--parallel", "pmpa"], "unknown way to run in parallel 'pmpa'; did you mean"),
        (["--micro-batches", "3"], "not divisible by 2 devices times 3 micro-batches"),
        (["--ema-decay", "1"], "--ema-decay is 1.0; it must be in [0, 1)"),
        (["--mixup", "-1"], "--mixup is -1.0; it must not be negative"),
        (["--learning-rate", "nan"], "--learning-rate is nan; it must be positive"),
        (["--patience", "-1"], "--patience is -1; it must not be negative"),
        (["--hint", "stage2"], "--hint needs a teacher"),
        (["--hint-epochs", "1"], "--hint and --hint-epochs need each other"),
        (["--local-batch-norm"], "--local-batch-norm is for shard_map and pmap alone"),
        (["--process-id", "1"], "several processes need a --coordinator"),
        (["--rand-augment", "25"], "--rand-augment is 25.0; it must be in [0, 10]"),
        (["--rotation", "nan"], "--rotation is nan; it must not be negative"),
        (["--seed", "-1"], "--seed is -1; it must not be negative"),
        (["--eval-size", "-1"], "--eval-size is -1; it must be positive"),
        (["--learning-rate", "inf"], "--learning-rate is inf; it must be positive"),
        (["--teacher", "no.safetensors"], "no.safetensors"),
        (["--drop-factor", "0"], "the rate cannot drop at (0.5, 0.75) of the run by"),
        (["--drop-path-rate", "0.1"], "--drop-path-rate means nothing to resnet"),
        (
            ["--coordinator", "here", "--num-processes", "2"],
            "the coordinator is 'here'; it has to be address:port, or auto",
        ),
        (
            ["--coordinator", "127.0.0.1:1", "--process-id", "1"],
            "process 1 cannot be one of 1; they count from 0",
        ),
        (["--warmup-epochs", "9"], "the warm-up of 36 steps is longer than the run"),
    ],
)
def test_bad_requests_get_one_line_and_write_nothing(
    monkeypatch, capsys, data_dir, tmp_path, options, message
):
    run_dir = tmp_path / "run"
    status = run_here(monkeypatch, *arguments(data_dir, run_dir), *options)
    output = capsys.readouterr()
    assert status == 2
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), output.err)
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert not run_dir.exists()


def test_resume_without_a_folder(monkeypatch, capsys, data_dir):
    options = ["--preset", "smoke", "--data-dir", str(data_dir), "--resume"]
    assert run_here(monkeypatch, *options) == 2
    assert "--resume needs the run's folder" in capsys.readouterr().err


def test_another_runs_folder_is_left_alone(smoke_run, monkeypatch, capsys, data_dir):
    run_dir, _ = smoke_run
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")}
    for options in (["--seed", "5"], ["--seed", "5", "--resume"], []):
        request = arguments(data_dir, run_dir, *options)
        assert run_here(monkeypatch, *request) == 2
        assert f"run folder {run_dir}" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")} == before


def test_help_is_quick_and_complete():
    before = os.times()
    command = [sys.executable, str(SCRIPT), "--help"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = os.times()  # Work, not waiting: other tests may run at the same time.
    # Under 3 s on most machines; 3.7 s on one of half their speed.
    assert after.children_user - before.children_user < 5
    for name in vars(classify.PRESETS["default"]):
        assert f"--{name.replace('_', '-')}" in shown


@pytest.mark.slow
def test_the_recipe_reaches_98_percent(data_dir, tmp_path):
    accuracies = []
    # As in the README. With two virtual devices on two cores, collectives of XLA's CPU
    # backend have been seen to wait for each other for ever, once in these 5,400 steps.
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    for seed in ("0", "1", "2"):
        command = [sys.executable, SCRIPT, "--data-dir", data_dir, "--seed", seed]
        command += ["--run-dir", tmp_path / seed]
        subprocess.run([*map(str, command)], check=True, env=environment)
        accuracies.append(results(tmp_path / seed)["test_accuracy"])
    assert np.mean(accuracies) >= 0.98
