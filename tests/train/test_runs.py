"""Whose folder it is, and whether the run fits in."""

import json
from types import SimpleNamespace

import pytest

from cnnjax import errors
from cnnjax.train import open_run, runs


CONFIG = {"epochs": 3, "seed": 0, "run_dir": None, "resume": False}


def open_(run_dir, resume=False, needed_bytes=0, **changes):
    return open_run(
        "test",
        CONFIG | changes,
        run_dir=run_dir,
        resume=resume,
        needed_bytes=needed_bytes,
    )


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_new_folders_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = open_(None), open_(None)
    assert first != second
    assert json.loads((first / "config.json").read_text()) == CONFIG


def test_an_empty_folder_may_be_used(tmp_path):
    assert open_(tmp_path) == tmp_path


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "holds this run already; add --resume"),
        ({"epochs": 4}, "another configuration: epochs is 3 there, 4 here"),
        ({"epochs": 4, "resume": True}, "another configuration: epochs is 3 there"),
        ({"seed": 1, "extra": 2}, "extra is None there, 2 here; seed is 0 there"),
    ],
)
def test_a_folder_of_another_run_is_left_alone(tmp_path, options, message):
    open_(tmp_path / "run")
    before = snapshot(tmp_path)
    with pytest.raises(errors.UserError, match=message):
        open_(tmp_path / "run", **options)
    assert snapshot(tmp_path) == before


def test_the_same_run_resumes_wherever_it_lies(tmp_path):
    open_(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    changed = CONFIG | {"run_dir": str(moved), "resume": True}
    run_dir = open_run("test", changed, run_dir=moved, resume=True, needed_bytes=0)
    assert run_dir == moved


def test_resume_starts_a_run_that_is_not_there(tmp_path):
    assert open_(tmp_path / "run", resume=True) == tmp_path / "run"


def test_resume_needs_a_folder():
    with pytest.raises(errors.UserError, match=r"--resume needs .*--run-dir"):
        open_(None, resume=True)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(errors.UserError, match="not empty and holds no run"):
        open_(tmp_path, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_config_is_named(tmp_path):
    for content in ("{", "[1]", ""):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(errors.UserError, match=r"config\.json is damaged"):
            open_(tmp_path, resume=True)


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/none/run"])
def test_no_permission_is_said(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UserError, match=r"is a file|cannot write to run folder"):
        open_(tmp_path / place)


def test_no_space_is_said_and_nothing_is_written(tmp_path, monkeypatch):
    free = SimpleNamespace(free=3 * 2**20)
    monkeypatch.setattr(runs.shutil, "disk_usage", lambda path: free)
    with pytest.raises(errors.UserError, match=r"has 3 MiB free; .* about 5 MiB"):
        open_(tmp_path / "run", needed_bytes=5 * 2**20)
    assert not (tmp_path / "run").exists()
