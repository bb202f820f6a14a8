"""Checkpoints: what was saved comes back, and damage never does."""

import json
import os
import shutil
from types import SimpleNamespace

import chex
import jax.numpy as jnp
import pytest

from cnnjax import errors
from cnnjax.train import Checkpointer, TrainState, manifest


def make_state(step=0, dtype=jnp.float32, features=3):
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        params={"dense": {"kernel": jnp.full((2, features), step + 0.5, dtype)}},
        batch_stats={},
        opt_state=({"momentum": jnp.full(3, -step, jnp.float32)}, ()),
    )


def save_steps(folder, steps, accuracies=(0.5, 0.5), keep=2):
    with Checkpointer(folder, keep=keep) as checkpointer:
        for step, accuracy in zip(steps, accuracies, strict=True):
            metrics = None if accuracy is None else {"accuracy": accuracy}
            checkpointer.save(make_state(step), {"at": step}, metrics)


def restore(folder, **options):
    with Checkpointer(folder) as checkpointer:
        return checkpointer.restore(make_state(**options))


def steps_on_disk(folder):
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_round_trip(tmp_path):
    save_steps(tmp_path, [1, 2])
    state, document = restore(tmp_path)
    chex.assert_trees_all_equal(state, make_state(2))
    assert document == {"at": 2}


def test_nothing_saved_is_none(tmp_path):
    assert restore(tmp_path) is None


def test_keeps_the_newest_and_the_best_even_after_a_restart(tmp_path):
    save_steps(tmp_path, range(1, 6), [0.1, 0.9, 0.3, None, 0.2])
    assert steps_on_disk(tmp_path) == [2, 4, 5]
    save_steps(tmp_path, [6, 7], [0.4, 0.5])
    assert steps_on_disk(tmp_path) == [2, 6, 7]
    with Checkpointer(tmp_path) as checkpointer:
        assert checkpointer.best_step() == 2
        assert checkpointer.latest_step() == 7


def files(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def test_a_flipped_byte_in_any_file_is_noticed(tmp_path, caplog):
    original = tmp_path / "original"
    save_steps(original, [1, 2])
    names = files(original / "2")
    assert len(names) > 8
    for number, name in enumerate(names):
        folder = tmp_path / f"copy{number}"
        shutil.copytree(original, folder)
        path = folder / "2" / name
        data = bytearray(path.read_bytes())
        if data:
            data[len(data) // 2] ^= 0x55
        else:
            data = b"U"
        path.write_bytes(data)
        caplog.clear()
        state, _ = restore(folder)
        assert int(state.step) == 1
        assert path.name in caplog.text or manifest.NAME in caplog.text
        assert (folder.with_name(folder.name + ".damaged") / "2" / name).exists()


@pytest.mark.parametrize("harm", ["truncate", "remove"])
def test_a_truncated_or_missing_file_is_named(tmp_path, caplog, harm):
    save_steps(tmp_path / "c", [1, 2])
    folder = tmp_path / "c" / "2"
    largest = max((folder / name for name in files(folder)), key=os.path.getsize)
    if harm == "truncate":
        os.truncate(largest, largest.stat().st_size // 2)
    else:
        largest.unlink()
    state, _ = restore(tmp_path / "c")
    assert int(state.step) == 1
    assert largest.name in caplog.text


def test_no_intact_checkpoint_is_an_error(tmp_path):
    save_steps(tmp_path / "c", [1, 2])
    for step in (1, 2):
        (tmp_path / "c" / str(step) / manifest.NAME).unlink()
    with pytest.raises(errors.UserError, match=r"no intact checkpoint .*1/MANIFEST"):
        restore(tmp_path / "c")


def test_damage_does_not_hinder_saving_the_step_again(tmp_path):
    folder = tmp_path / "c"
    save_steps(folder, [1, 2])
    (folder / "2" / manifest.NAME).write_text("")
    save_steps(folder, [2, 3])
    assert restore(folder)[1] == {"at": 3}
    assert steps_on_disk(folder) == [2, 3]


def test_a_save_cut_short_by_a_kill_is_forgotten(tmp_path, caplog):
    folder = tmp_path / "c"
    save_steps(folder, [1, 2])
    (folder / "saving-2").touch()
    (folder / "2" / manifest.NAME).unlink()
    state, _ = restore(folder)
    assert int(state.step) == 1
    assert not [r for r in caplog.records if r.name.startswith("cnnjax")]
    assert steps_on_disk(folder) == [1]
    assert not list(folder.glob("saving-*"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dtype": jnp.bfloat16}, "kernel is float32.2, 3. there, bfloat16.2, 3. here"),
        ({"features": 4}, "kernel is float32.2, 3. there, float32.2, 4. here"),
    ],
)
def test_another_shape_or_type_is_an_error(tmp_path, options, message):
    save_steps(tmp_path, [1], [0.5])
    with pytest.raises(errors.UserError, match=message):
        restore(tmp_path, **options)


def test_a_failed_save_is_reported(tmp_path, monkeypatch):
    def fail(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, "write", fail)
    with pytest.raises(errors.UserError, match=r"cannot save to .*No space left"):
        save_steps(tmp_path, [1, 2])


def test_a_full_disk_is_noticed_before_the_save(tmp_path, monkeypatch):
    free = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(OSError, match="No space left on device"):
        save_steps(tmp_path, [1, 2])
    assert steps_on_disk(tmp_path) == []


def test_document_is_json(tmp_path):
    save_steps(tmp_path, [1], [0.5])
    stored = [json.loads((tmp_path / "1" / "document" / "metadata").read_text())]
    assert stored == [{"at": 1}]
