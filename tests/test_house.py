"""The architecture holds: who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cnnjax


PACKAGE = Path(cnnjax.__file__).parent

# What each room may import of cnnjax, besides itself and `errors`.
ALLOWED = {
    "__init__": {"registry", "cli", "cost", "data", "detection", "losses", "metrics"}
    | {"ops", "inference", "models", "nn", "plots", "recipes", "segmentation"}
    | {"train", "video", "weights"},
    "__main__": {"cli"},
    "errors": set(),
    "trees": set(),
    "ops": set(),
    "nn": {"ops"},
    "models": {"nn", "ops"},
    "segmentation": {"models", "nn", "ops"},
    "detection": {"losses", "models", "nn", "ops"},
    "video": {"models", "nn", "ops", "trees"},
    "registry": {"detection", "models", "segmentation"},
    "weights": {"models", "registry", "trees"},
    "inference": {"nn", "ops", "trees", "weights"},
    "cost": {"plots"},
    "losses": {"ops"},
    "metrics": set(),
    "plots": set(),
    "data": set(),
    "train": {"losses", "metrics"},
    "recipes": {"data", "models", "registry", "train"},
    "cli": {"data", "metrics", "models", "plots", "registry", "train"}
    | {"weights"}
    | {"cost", "detection", "inference", "segmentation"},
}


def imported(path):
    """Yields the rooms that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "cnnjax" and len(parts) > 1:
                yield parts[1]


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_imports_only_from_the_rooms_above(file):
    room = file.split("/")[0].removesuffix(".py")
    assert room in ALLOWED, f"{room} has no place in the house yet"
    assert set(imported(PACKAGE / file)) <= ALLOWED[room] | {room, "errors"}


def test_allowed_directions_have_no_cycle():
    def reaches(room, seen=()):
        assert room not in seen, f"cycle through {room}"
        for other in ALLOWED[room] - {room}:
            reaches(other, (*seen, room))

    for room in ALLOWED:
        reaches(room)


@pytest.mark.parametrize("file", FILES)
def test_files_stay_readable(file):
    assert len((PACKAGE / file).read_text().splitlines()) <= 400


def run_python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_cnnjax_costs_next_to_nothing():
    seconds = run_python(
        "import jax, flax.linen, optax, time\n"
        "start = time.process_time()\n"
        "import cnnjax\n"
        "print(time.process_time() - start)"
    )
    assert float(seconds) < 0.3


def test_importing_cnnjax_loads_no_room():
    modules = run_python("import cnnjax, sys\nprint(*sys.modules)").split()
    heavy = {"jax", "flax", "orbax", "grain", "tensorflow_datasets", "matplotlib"}
    assert not heavy & set(modules)


@pytest.mark.parametrize("room", ["ops", "nn"])
def test_operations_and_layers_stand_on_their_own(room):
    modules = run_python(f"import cnnjax.{room}, sys\nprint(*sys.modules)").split()
    heavy = {"tensorflow_datasets", "grain", "orbax.checkpoint", "matplotlib"}
    heavy |= {"sklearn", "optax"} | ({"flax"} if room == "ops" else set())
    assert not heavy & set(modules)


def test_rooms_open_when_touched():
    assert set(cnnjax._ROOMS) <= set(dir(cnnjax))
    for room in cnnjax._ROOMS:
        assert getattr(cnnjax, room).__name__ == f"cnnjax.{room}"
    with pytest.raises(AttributeError, match="no attribute 'cellar'"):
        cnnjax.cellar  # noqa: B018
