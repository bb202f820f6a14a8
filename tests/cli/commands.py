"""How tests call the command line."""

import runpy


def run(monkeypatch, *arguments):
    """Runs a command in this process; returns its exit status."""
    monkeypatch.setattr("sys.argv", ["cnnjax", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "120")
    try:
        runpy.run_module("cnnjax", run_name="__main__")
    except SystemExit as error:
        return error.code
    return 0
