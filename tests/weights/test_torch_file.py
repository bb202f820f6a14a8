"""PyTorch's files are read without PyTorch, and hostile ones run nothing."""

import io
import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch_files

from cnnjax import errors
from cnnjax.weights import _pickle, _torch_file


STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "conv.bias": np.float16([1.5, -2]),
    "bn.num_batches_tracked": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}
FORMATS = {"zipped": torch_files.zipped(STATE), "old": torch_files.old(STATE)}
every_format = pytest.mark.parametrize("data", FORMATS.values(), ids=FORMATS)


def load(tmp_path, data):
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    return _torch_file.load(path)


@every_format
def test_reads_every_tensor(tmp_path, data):
    state = load(tmp_path, data)
    assert state.keys() == STATE.keys()
    for name, value in STATE.items():
        assert state[name].dtype == value.dtype
        np.testing.assert_array_equal(state[name], value)


@every_format
def test_damaged_files_are_errors_or_other_numbers(tmp_path, data):
    """Never a crash: 600 bits turned round and 200 ends cut off."""
    rng = random.Random(0)
    for i in range(800):
        broken = bytearray(data)
        if i < 600:
            broken[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            del broken[rng.randrange(len(data)) :]
        try:
            state = load(tmp_path, bytes(broken))
        except errors.UserError as error:
            assert "weights.pth" in str(error)
        else:
            assert i < 600 and all(type(a) is np.ndarray for a in state.values())


STORAGE = _pickle.Storage(np.dtype(np.float32), "0", 6)


def test_views_of_a_storage():
    numbers = np.arange(6, dtype=np.float32)
    turned = _pickle.Tensor(STORAGE, 1, (2, 2), (1, 2)).view(numbers)
    np.testing.assert_array_equal(turned, [[1, 3], [2, 4]])
    assert turned.flags.c_contiguous and turned.flags.writeable


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (7,), (1,)), (3, (2, 2), (2, 1)), (7, (1,), (1,)), (0, (2**40,), (0,))],
)
def test_views_stay_in_their_storage(offset, shape, strides):
    tensor = _pickle.Tensor(STORAGE, offset, shape, strides)
    with pytest.raises(errors.UserError, match="leaves its storage"):
        tensor.view(np.zeros(6, np.float32))


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((-1,), (1,)), ((2**62, 0), (1, 1)), ((1,) * 99, (1,) * 99), ((2,), (1, 1))],
)
@pytest.mark.parametrize("offset", [0, pytest.param(10**5000, id="vast")])
def test_impossible_tensors_are_refused(offset, shape, strides):
    with pytest.raises(errors.UserError):
        _pickle._tensor(STORAGE, offset, shape, strides)


class Hostile:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def as_zip(pickled, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("weights/data.pkl", pickled)
    return file.getvalue()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.system, eval, getattr, __import__])
def test_hostile_pickles_run_nothing(tmp_path, function, protocol):
    target = tmp_path / "ran"
    value = {"weight": Hostile(function, f"touch {target}")}
    pickled = pickle.dumps(value, protocol)
    for data in (pickled, as_zip(pickled)):
        with pytest.raises(errors.UserError):
            load(tmp_path, data)
    assert not target.exists()


def test_refusal_names_what_was_refused(tmp_path):
    pickled = pickle.dumps(Hostile(os.system, "true"), 2)
    with pytest.raises(errors.UserError, match=r"refused to load \w+\.system"):
        load(tmp_path, as_zip(pickled))


def test_compressed_entries_are_refused(tmp_path):
    pickled = pickle.dumps("a" * 10_000_000, 2)
    with pytest.raises(errors.UserError, match=r"data\.pkl is compressed"):
        load(tmp_path, as_zip(pickled, zipfile.ZIP_DEFLATED))


def test_nests_that_unfold_exponentially_end_at_once(tmp_path):
    nest = ()
    for _ in range(60):
        nest = (nest, nest)
    for value in (nest, {"weight": nest}, [nest]):
        with pytest.raises(errors.UserError):
            load(tmp_path, as_zip(pickle.dumps(value, 2)))
