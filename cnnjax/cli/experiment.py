"""Runs an experiment from the command line: options, presets, errors, exit status."""

import dataclasses
import logging
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar, runtime_checkable

import jax
import tyro

from cnnjax import errors
from cnnjax.cli.status import exit_status
from cnnjax.train.interrupts import Interrupted


@runtime_checkable  # For those who check types at run time, as the tests do.
class Preset(Protocol):
    """A frozen dataclass whose field `preset` says which one it started from."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def preset(self) -> str: ...


Config = TypeVar("Config", bound=Preset)


def parse(
    presets: Mapping[str, Config], arguments: Sequence[str], description: str | None
) -> Config:
    """Reads a configuration: a preset's, changed by the options given.

    Args:
      presets: frozen dataclasses with a field `preset` that holds their name;
        "default" is one of them.
      arguments: the command line without the program's name.
      description: what `--help` says first.

    Raises:
      UserError: if an option or the preset does not exist; suggests the near ones.
      SystemExit: after `--help`, or an option's value that cannot be read.
    """

    def read(preset: Config) -> Config:
        config, rest = tyro.cli(
            type(preset),
            args=arguments,
            default=preset,
            description=description,
            return_unknown_args=True,
        )
        for argument in rest:
            name = argument.partition("=")[0]
            if name.startswith("-"):
                raise errors.unknown("option", name, _options(preset))
            raise errors.UserError(f"unexpected argument {argument!r}")
        return config

    name = read(presets["default"]).preset
    if name not in presets:
        raise errors.unknown("preset", name, presets)
    return read(presets[name])


def run(
    main: Callable[[Config], Any],
    presets: Mapping[str, Config],
    description: str | None,
) -> NoReturn:
    """Parses the command line, calls `main` and exits.

    The status is 0 after success and after SIGTERM (pre-emption is no failure), 130
    after Ctrl-C, and 2 after a mistake of the user's, which is printed as one line.
    Where several processes train together, one that fails leaves at once: the others
    miss it half a minute later, and fail, too.
    """

    def stop(number: int, _: Any) -> None:
        raise Interrupted(number)

    signal.signal(signal.SIGTERM, stop)
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS recommends OpenCV.
    try:
        with exit_status():
            main(parse(presets, sys.argv[1:], description))
    except Interrupted as error:
        sys.exit(130 if error.signal_number == signal.SIGINT else 0)
    except BaseException as error:
        if jax.distributed.is_initialized():
            _leave(error)
        raise
    sys.exit(0)


def _leave(error: BaseException) -> NoReturn:
    """Exits without waiting for other processes, who wait for this one."""
    status = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def resume_command(run_dir: Path) -> str:
    """Returns the command that continues this one's run in its folder."""
    arguments = iter(sys.argv[1:])
    kept = []
    for argument in arguments:
        if argument.replace("_", "-") == "--run-dir":
            next(arguments, None)
        elif not argument.replace("_", "-").startswith(("--run-dir=", "--resume")):
            kept.append(argument)
    program = ["python", sys.argv[0], *kept, "--run-dir", str(run_dir), "--resume"]
    return shlex.join(program)


def _options(config: Any) -> list[str]:
    return [f"--{f.name.replace('_', '-')}" for f in dataclasses.fields(config)]
