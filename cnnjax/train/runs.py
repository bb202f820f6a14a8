"""The folder of a run: who owns it, what fits in it, and files that appear at once."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PyTree

from cnnjax import errors


CONFIG = "config.json"
# Where a run lives and how it was started say nothing about its result.
NOT_COMPARED = ("run_dir", "resume", "data_dir", "profile", "keep")
# Nor does, up to the order of sums, who shares the work.
NOT_COMPARED += ("coordinator", "num_processes", "process_id", "parallel")
NOT_COMPARED += ("micro_batches",)


def write_json(path: Path, document: Any) -> None:
    """Writes a JSON file that is, at any moment, absent, the old one or the new one."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(json.dumps(document, indent=2, default=str) + "\n")
    os.replace(scratch, path)


def open_run(
    name: str,
    config: dict[str, Any],
    *,
    run_dir: Path | None,
    resume: bool,
    needed_bytes: int,
) -> Path:
    """Makes or reopens the folder of a run and writes its configuration into it.

    Args:
      name: what the run does, e.g. "classify"; part of the name of a new folder.
      config: the configuration, as JSON can hold it.
      run_dir: the folder; None for a new one below `runs/`.
      resume: whether the folder may hold a run of the same configuration.
      needed_bytes: free space below which the run is refused.

    Returns:
      The folder, with `config.json` in it.

    Raises:
      UserError: if the folder holds another run or other files, cannot be written to,
        or has too little space. Nothing is written then.
    """
    if run_dir is None:
        if resume:
            raise errors.UserError("--resume needs the run's folder: add --run-dir")
        run_dir = _new_name(Path("runs", f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    try:
        _check_owner(run_dir, config, resume)
        existed = run_dir.exists()
        run_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(run_dir).free
        if free < needed_bytes:
            if not existed:
                run_dir.rmdir()
            raise errors.UserError(
                f"run folder {run_dir} has {free / 2**20:.0f} MiB free; the "
                f"checkpoints need about {needed_bytes / 2**20:.0f} MiB"
            )
        write_json(run_dir / CONFIG, config)
    except OSError as error:
        raise errors.UserError(
            f"cannot write to run folder {run_dir}: {error.strerror}"
        ) from error
    return run_dir


def _new_name(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _check_owner(run_dir: Path, config: dict[str, Any], resume: bool) -> None:
    if not run_dir.exists():
        return
    if not run_dir.is_dir():
        raise errors.UserError(f"run folder {run_dir} is a file")
    if not (run_dir / CONFIG).exists():
        if any(not path.name.startswith(".") for path in run_dir.iterdir()):
            raise errors.UserError(
                f"run folder {run_dir} is not empty and holds no run; choose another"
            )
        return
    try:
        owner = json.loads((run_dir / CONFIG).read_text())
        differing = [
            f"{key} is {owner.get(key)!r} there, {config.get(key)!r} here"
            for key in sorted(owner.keys() | config.keys())
            if key not in NOT_COMPARED and owner.get(key) != config.get(key)
        ]
    except (ValueError, AttributeError) as error:
        raise errors.UserError(f"{run_dir / CONFIG} is damaged: {error}") from error
    if differing:
        raise errors.UserError(
            f"run folder {run_dir} belongs to another configuration: "
            + "; ".join(differing)
        )
    if not resume:
        raise errors.UserError(
            f"run folder {run_dir} holds this run already; add --resume to continue it"
        )


def fingerprint(params: PyTree) -> str:
    """Returns the SHA-256 of all parameters: equal runs have equal fingerprints."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(jax.device_get(params)):
        digest.update(jax.tree_util.keystr(path).encode() + leaf.tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Returns the versions of the packages that decide about a run's numbers."""
    packages = ("cnnjax", "jax", "jaxlib", "flax", "optax", "grain", "numpy")
    return {name: importlib.metadata.version(name) for name in packages}
