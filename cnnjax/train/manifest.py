"""A SHA-256 manifest of a folder, which notices any byte that changed on disk.

The format is that of `sha256sum`, so `sha256sum --check MANIFEST.sha256` works too.
"""

import hashlib
import os
from pathlib import Path


NAME = "MANIFEST.sha256"


def _digests(folder: Path) -> dict[str, str]:
    """Returns the digest of every file below the folder by its relative path."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / NAME:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


def _render(digests: dict[str, str]) -> bytes:
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()


def write(folder: Path) -> None:
    """Writes the manifest of a folder whose files are complete; it appears at once."""
    scratch = folder.with_name(f"{folder.name}.{NAME}")
    scratch.write_bytes(_render(_digests(folder)))
    os.replace(scratch, folder / NAME)


def damage(folder: Path) -> str | None:
    """Returns what is wrong with the folder, naming a file, or None if it is intact."""
    try:
        written = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return f"{NAME} is missing"
    found = _digests(folder)
    if written == _render(found):
        return None
    lines = (
        line.partition("  ") for line in written.decode(errors="replace").split("\n")
    )
    expected = {name: digest for digest, _, name in lines if name}
    if unlisted := found.keys() - expected.keys():
        return f"{NAME} does not list {min(unlisted)}"
    for name, digest in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != digest:
            return f"{name} does not match {NAME}"
    return f"{NAME} does not list the files in order"
