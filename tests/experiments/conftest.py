"""A run that others are compared with."""

import pytest
from runs import finish, start


@pytest.fixture(scope="session")
def smoke_run(data_dir, tmp_path_factory):
    """A run that nobody disturbed, and what it printed."""
    run_dir = tmp_path_factory.mktemp("runs") / "smoke"
    return run_dir, finish(start(data_dir, run_dir))
