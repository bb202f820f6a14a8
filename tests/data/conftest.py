"""Few scenes of each kind, quickly made."""

import pytest

from cnnjax.data import scenes


@pytest.fixture(scope="session")
def few_scenes():
    """Lets each split of the scenes have few examples; returns the numbers."""
    numbers = {"train": 12, "validation": 3, "test": 5}
    with pytest.MonkeyPatch.context() as patch:
        for config in scenes.Scenes.BUILDER_CONFIGS:
            patch.setattr(config, "examples", tuple(numbers.values()))
        yield numbers


@pytest.fixture(scope="session")
def scenes_dir(few_scenes, tmp_path_factory):
    """A folder in which those are prepared that a test asks for."""
    return tmp_path_factory.mktemp("scenes")
