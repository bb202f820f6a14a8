"""The command line: what experiments and commands share."""

from cnnjax.cli.experiment import resume_command as resume_command
from cnnjax.cli.experiment import run as run
