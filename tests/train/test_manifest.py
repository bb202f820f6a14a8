"""Every byte that changes on disk is noticed and its file named."""

import subprocess

import pytest

from cnnjax.train import manifest


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "7"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"first file")
    (folder / "sub" / "b c").write_bytes(bytes(range(256)) * 99)
    (folder / "empty").write_bytes(b"")
    manifest.write(folder)
    return folder


def test_intact(folder):
    assert manifest.damage(folder) is None


@pytest.mark.parametrize("name", ["a", "sub/b c", manifest.NAME])
@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_noticed(folder, name, bit):
    path = folder / name
    original = path.read_bytes()
    for position in {0, len(original) // 2, len(original) - 1}:
        flipped = bytearray(original)
        flipped[position] ^= 1 << bit
        path.write_bytes(flipped)
        assert manifest.damage(folder) is not None
    path.write_bytes(original)
    assert manifest.damage(folder) is None


def test_the_file_is_named(folder):
    (folder / "sub" / "b c").write_bytes(b"short")
    assert manifest.damage(folder) == "sub/b c does not match MANIFEST.sha256"
    (folder / "sub" / "b c").unlink()
    assert manifest.damage(folder) == "sub/b c is missing"
    (folder / manifest.NAME).unlink()
    assert manifest.damage(folder) == "MANIFEST.sha256 is missing"


def test_an_added_file_is_noticed(folder):
    (folder / "more").write_bytes(b"")
    assert manifest.damage(folder) == "MANIFEST.sha256 does not list more"


def test_the_usual_tool_can_check_it(folder):
    command = ["sha256sum", "--check", "--strict", manifest.NAME]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
