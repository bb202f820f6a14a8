"""Every experiment's `smoke` preset runs; classify's has a file of its own."""

import dataclasses
from pathlib import Path

import cross_validate
import digits_svc
import pytest


SMOKED = {"classify", "cross_validate", "digits_svc"}


def smoke(experiment, data_dir):
    config = dataclasses.replace(experiment.PRESETS["smoke"], data_dir=data_dir)
    return experiment.main(config)


def test_none_is_forgotten():
    folder = Path(digits_svc.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == SMOKED


def test_digits_svc(data_dir, capsys):
    assert 0.5 < smoke(digits_svc, data_dir) < 1.0
    assert "SVC(gamma=0.001) on test: " in capsys.readouterr().out


def test_cross_validate(data_dir, capsys):
    accuracies = smoke(cross_validate, data_dir)
    assert [len(values) for values in accuracies.values()] == [2]
    assert "fold 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 359, "train[0:359]"),
        (1077, 1437, "train[1077:1297]+validation[0:140]"),
        (1300, 1437, "validation[3:140]"),
        (0, 0, ""),
        (1437, 1437, ""),
    ],
)
def test_folds_name_the_original_order(low, high, expected):
    assert cross_validate.images(low, high) == expected


def test_folds_never_touch_the_test_split():
    assert cross_validate.PRESETS["default"].num_images == 1297 + 140
