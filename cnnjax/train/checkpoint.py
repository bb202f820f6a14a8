"""Checkpoints that survive a kill and notice a damaged file.

Orbax writes them, asynchronously: the state and a JSON document, in one folder per
step. (The step is the position in the data.) When a save has finished, a SHA-256
manifest is added to its folder; nothing is restored whose manifest does not match.

Several processes share the folder: each writes its part of the arrays, and the first
of them everything else.
"""

import concurrent.futures
import errno
import logging
import operator
import os
import shutil
from pathlib import Path
from typing import Any

import flax.serialization
import flax.traverse_util
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from cnnjax import errors
from cnnjax.train import manifest, parallel
from cnnjax.train.state import TrainState


_log = logging.getLogger(__name__)
_SMALL_FILES = 2**20  # Metadata, the manifest: 60 KB so far.


class Checkpointer:
    """Saves and restores the checkpoints of one run. Close it, or use it in a `with`.

    Making one takes stock of the folder: checkpoints whose save was cut short by a
    kill are removed, and damaged ones are moved to `<directory>.damaged` with a
    warning that names the file.

    Args:
      directory: where the checkpoints live; created if needed.
      keep: how many of the newest to keep; the best one stays too.
      score: the metric of the evaluations that says which is the best.
    """

    def __init__(self, directory: Path, *, keep: int = 2, score: str = "accuracy"):
        self._directory = directory.absolute()
        self._directory.mkdir(parents=True, exist_ok=True)
        found = self._problems()
        parallel.wait_for_all("all have seen the checkpoints")
        self._damaged = [
            f"{folder.name}/{problem}"
            for folder, problem, unfinished in found
            if not unfinished
        ]
        if parallel.is_first_process():
            self._clear_away(found)
        parallel.wait_for_all("what is damaged has gone")
        handlers: dict[str, Any] = {
            "state": ocp.StandardCheckpointHandler(),
            "document": ocp.JsonCheckpointHandler(),
        }
        best = operator.itemgetter(score)
        self._manager = ocp.CheckpointManager(
            self._directory,
            item_handlers=handlers,
            options=ocp.CheckpointManagerOptions(
                best_fn=best,  # Without it, the metrics are not stored.
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(
                    [
                        checkpoint_managers.LatestN(keep),
                        checkpoint_managers.BestN(
                            get_metric_fn=best,
                            n=1,
                            keep_checkpoints_without_metrics=False,
                        ),
                    ]
                ),
                cleanup_tmp_directories=True,
            ),
        )
        self._worker = concurrent.futures.ThreadPoolExecutor(1, "manifest")
        self._pending: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def latest_step(self) -> int | None:
        """Returns the step of the newest intact checkpoint, or None."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Returns the step of the checkpoint with the best score, or None."""
        return self._manager.best_step()

    def save(
        self,
        state: TrainState,
        document: dict[str, Any],
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Starts to save; returns when the state may be changed or donated.

        Args:
          state: its step numbers the checkpoint.
          document: anything that JSON can hold.
          metrics: the evaluation at this step, of which the score decides which is
            the best; None if there was none.

        Raises:
          OSError: if the disk has too little space.
          UserError: if the save before this one failed.
        """
        self.wait()
        num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        if shutil.disk_usage(self._directory).free < 1.1 * num_bytes + _SMALL_FILES:
            full = errno.ENOSPC
            raise OSError(full, os.strerror(full), str(self._directory))
        step = int(state.step)
        if parallel.is_first_process():
            self._marker(step).touch()
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(flax.serialization.to_state_dict(state)),
                document=ocp.args.JsonSave(document),
            ),
            metrics=metrics,
        )
        self._pending = self._worker.submit(self._seal, step)

    def restore(
        self, state: TrainState, step: int | None = None
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """Reads the newest intact checkpoint, or that of a step.

        Args:
          state: a state of the same structure, shapes and types, placed as the restored
            one is to be: the devices may be others than those that saved it.
          step: one of those that are kept, e.g. `best_step()`; None for the newest.

        Returns:
          The state and the document that were saved; None if nothing ever was.

        Raises:
          UserError: if every checkpoint is damaged, or the newest intact one holds
            other shapes or types than `state`.
        """
        step = self.latest_step() if step is None else step
        if step is None:
            if self._damaged:
                raise errors.UserError(
                    f"no intact checkpoint in {self._directory}: "
                    + "; ".join(self._damaged)
                )
            return None
        expected = flax.serialization.to_state_dict(state)
        self._check_types(step, expected)
        restored: Any = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(expected),
                document=ocp.args.JsonRestore(),
            ),
        )
        tree: Any = flax.serialization.from_state_dict(state, restored["state"])
        return tree, restored["document"]

    def wait(self) -> None:
        """Returns when the last save is complete, manifest included.

        Raises:
          UserError: if it failed.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                pending.result()
            except (OSError, ValueError) as error:  # ValueError: TensorStore's.
                reason = str(error).splitlines()[0]
                raise errors.UserError(
                    f"cannot save to {self._directory}: {reason}"
                ) from error

    def close(self) -> None:
        """Waits for the last save and stops the threads."""
        try:
            self.wait()
        finally:
            self._worker.shutdown()
            self._manager.close()

    def _seal(self, step: int) -> None:
        self._manager.wait_until_finished()
        if parallel.is_first_process():
            manifest.write(self._directory / str(step))
            self._marker(step).unlink()

    def _marker(self, step: int) -> Path:
        """Exists during a save, to tell an unfinished checkpoint from a damaged one."""
        return self._directory / f"saving-{step}"

    def _problems(self) -> list[tuple[Path, str, bool]]:
        """Returns what cannot be restored: folder, problem, and if it is unfinished."""
        folders = sorted(p for p in self._directory.iterdir() if p.name.isdigit())
        return [
            (folder, problem, self._marker(int(folder.name)).exists())
            for folder in folders
            if (problem := manifest.damage(folder)) is not None
        ]

    def _clear_away(self, found: list[tuple[Path, str, bool]]) -> None:
        for folder, problem, unfinished in found:
            if unfinished:
                shutil.rmtree(folder)
                continue
            aside = self._directory.with_name(self._directory.name + ".damaged")
            aside.mkdir(exist_ok=True)
            shutil.rmtree(aside / folder.name, ignore_errors=True)
            os.replace(folder, aside / folder.name)
            _log.warning("checkpoint %s: %s; moved to %s", folder, problem, aside)
        for marker in self._directory.glob("saving-*"):
            marker.unlink()

    def _check_types(self, step: int, expected: dict[str, Any]) -> None:
        """Orbax would cast and truncate in silence."""
        metadata: Any = self._manager.item_metadata(step)
        there, here = _types(metadata["state"].tree), _types(expected)
        for name in sorted(there.keys() | here.keys()):
            if there.get(name) != here.get(name):
                raise errors.UserError(
                    f"checkpoint {self._directory / str(step)} does not fit the model: "
                    f"{name} is {there.get(name)} there, {here.get(name)} here"
                )


def _types(tree: Any) -> dict[str, str]:
    """Returns, for example, "float32[3, 3, 16, 16]" by the path of each array."""
    flat: dict[str, Any] = flax.traverse_util.flatten_dict(tree, sep="/")
    return {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in flat.items()}
