"""An artefact comes back whole, and whatever is none is refused."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import cnnjax
from cnnjax import errors
from cnnjax.inference import _artefact


ARRAYS = {
    "params/conv/kernel": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    "params/half": np.array([1.5, -2], ml_dtypes.bfloat16),
    "bytes": np.array([[1, 2]], np.int8),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "new" / "model.artefact"
    _artefact.write_artefact(path, b"program", ARRAYS, {"note": "x"})
    return path


def rewrite(path, metadata=None, drop=(), **tensors):
    """Changes a file as somebody else would."""
    known = {
        "cnnjax_artefact": "1",
        "cnnjax_version": "0.0.1",
    }
    kept = {k: v for k, v in load_file(path).items() if k not in drop}
    save_file(kept | tensors, path, known if metadata is None else metadata)


def test_comes_back_bit_by_bit(path):
    program, arrays, metadata = _artefact.read_artefact(path)
    assert program == b"program"
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])
    assert metadata["note"] == "x"
    assert metadata["cnnjax_version"] == cnnjax.__version__
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_array_may_be_called_like_the_program(path):
    arrays = {"program": np.ones(2, np.float32)}
    _artefact.write_artefact(path, b"abc", arrays, {})
    program, found, _ = _artefact.read_artefact(path)
    assert program == b"abc" and found["program"].tolist() == [1, 1]


def test_no_file(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(errors.UserError, match="there is no file"):
            _artefact.read_artefact(path)


def test_a_file_of_weights(path):
    save_file({"a": np.ones(2)}, path)
    with pytest.raises(errors.UserError, match="holds no program, but 1 arrays"):
        _artefact.read_artefact(path)


@pytest.mark.parametrize("version", ["2", "0", "", "one"])
def test_another_format(path, version):
    metadata = {
        "cnnjax_artefact": version,
        "cnnjax_version": "9.9",
    }
    rewrite(path, metadata)
    with pytest.raises(errors.UserError) as caught:
        _artefact.read_artefact(path)
    message = f"has format {version} (cnnjax 9.9 wrote it), but cnnjax"
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"drop": ["program"]},
        {"program": np.ones(3, np.float32)},
        {"program": np.ones((1, 3), np.uint8)},
        {"other": np.ones(3, np.float32)},
    ],
)
def test_parts_that_are_missing_or_strange(path, changes):
    rewrite(path, **changes)
    with pytest.raises(errors.UserError, match="damaged: its program or an array"):
        _artefact.read_artefact(path)


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(errors.UserError, match="damaged, or no safetensors file"):
        _artefact.read_artefact(path)


def test_a_header_that_lies_about_its_size(path):
    data = bytearray(path.read_bytes())
    data[:8] = (2**40).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(errors.UserError, match="damaged"):
        _artefact.read_artefact(path)


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    write = Path.write_bytes

    def full(scratch, data):
        write(scratch, data[:4])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        _artefact.write_artefact(path, b"new", {}, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", [None, "", "{", "[" * 100_000, "[1]", "1.0", "true"])
def test_json_that_is_none_or_of_another_type(path, text):
    metadata = {} if text is None else {"key": text}
    with pytest.raises(errors.UserError, match="damaged: its key"):
        _artefact.read_json(path, metadata, "key", int)


def test_json(path):
    assert _artefact.read_json(path, {"key": json.dumps([1])}, "key", list) == [1]
