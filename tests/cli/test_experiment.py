"""Options, presets and exit statuses of every experiment's command line."""

import dataclasses
import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnnjax import cli, errors
from cnnjax.train import Interrupted


@dataclasses.dataclass(frozen=True)
class Config:
    """Options."""

    preset: str = "default"
    """Which preset."""
    epochs: int = 3
    """How many epochs."""
    run_dir: Path | None = None
    """Where."""
    resume: bool = False
    """Whether to go on."""


PRESETS = {"default": Config(), "smoke": Config(preset="smoke", epochs=1)}


def run(monkeypatch, *arguments, main=lambda config: None):
    monkeypatch.setattr(sys, "argv", ["experiments/x.py", *arguments])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as exit:
            cli.run(main, PRESETS, "What it does.")
    finally:
        signal.signal(signal.SIGTERM, before)
    return exit.value.code


def raising(error):
    def main(config):
        raise error

    return main


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ((), PRESETS["default"]),
        (("--preset", "smoke"), PRESETS["smoke"]),
        (("--epochs", "7"), Config(epochs=7)),
        (("--preset=smoke", "--epochs=7"), Config(preset="smoke", epochs=7)),
    ],
)
def test_options_change_the_preset(monkeypatch, arguments, expected):
    seen = []
    assert run(monkeypatch, *arguments, main=seen.append) == 0
    assert seen == [expected]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--epoch", "7"), "unknown option '--epoch'; did you mean --epochs"),
        (("--eposhs=7",), "unknown option '--eposhs'; did you mean --epochs"),
        (("--preset", "smok"), "unknown preset 'smok'; did you mean smoke"),
        (("train",), "unexpected argument 'train'"),
    ],
)
def test_mistakes_are_one_line(monkeypatch, capsys, arguments, message):
    assert run(monkeypatch, *arguments, main=pytest.fail) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert not output.out


def test_a_value_that_cannot_be_read(monkeypatch, capsys):
    assert run(monkeypatch, "--epochs", "many", main=pytest.fail) == 2
    assert "--epochs" in capsys.readouterr().err


def test_help(monkeypatch, capsys):
    assert run(monkeypatch, "--help", main=pytest.fail) == 0
    output = capsys.readouterr().out
    for text in ("What it does.", "--epochs", "How many epochs.", "(default: 3)"):
        assert text in output


@pytest.mark.parametrize(
    "error, status",
    [
        (errors.UserError("so it is"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 2),
        (KeyboardInterrupt(), 130),
        (Interrupted(signal.SIGINT), 130),
        (Interrupted(signal.SIGTERM), 0),
    ],
)
def test_exit_status(monkeypatch, capsys, error, status):
    assert run(monkeypatch, main=raising(error)) == status
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("length", [10, 10**6])
def test_who_reads_may_have_seen_enough(length):
    code = "from cnnjax.cli.status import exit_status\n"
    code += f"with exit_status(): print('x' * {length})"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_bug_is_not_hidden(monkeypatch):
    for error in (ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "no file")):
        with pytest.raises(type(error)):
            run(monkeypatch, main=raising(error))


def test_sigterm_outside_of_the_loop_stops_at_once(monkeypatch):
    def main(config):
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("went on")

    assert run(monkeypatch, main=main) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "7"],
        ["--epochs", "7", "--run-dir", "old", "--resume"],
        ["--run_dir=old", "--epochs", "7"],
    ],
)
def test_resume_command(monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", ["experiments/x.py", *arguments])
    assert cli.resume_command(Path("runs/a b")) == (
        "python experiments/x.py --epochs 7 --run-dir 'runs/a b' --resume"
    )
