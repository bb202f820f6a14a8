"""The command line: the commands, and what experiments share with them."""

from cnnjax.cli.experiment import resume_command as resume_command
from cnnjax.cli.experiment import run as run
