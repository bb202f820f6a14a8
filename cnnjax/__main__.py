"""`python -m cnnjax COMMAND`."""

import tyro

from cnnjax.cli.cost import cost
from cnnjax.cli.detect import detect
from cnnjax.cli.export import export
from cnnjax.cli.models import models
from cnnjax.cli.predict import predict
from cnnjax.cli.segment import segment
from cnnjax.cli.status import exit_status


def main() -> None:
    """Runs the command that the arguments name."""
    app = tyro.extras.SubcommandApp()
    for command in (models, cost, predict, segment, detect, export):
        app.command(command)
    with exit_status():
        app.cli(prog="python -m cnnjax", description="Convolutional networks for JAX.")


if __name__ == "__main__":
    main()
