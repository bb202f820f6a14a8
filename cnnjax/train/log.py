"""Where the numbers of a run go: the console, metrics.jsonl and TensorBoard."""

import datetime
import json
import os
from pathlib import Path
from typing import Any

import rich.console
import rich.progress
import tensorboardX


METRICS = "metrics.jsonl"


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Returns the records of a run: {"step", "split", "loss", "accuracy", ...}."""
    try:
        lines = (run_dir / METRICS).read_text().splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:  # The last line, if the run was killed while writing it.
            break
    return records


def _means(records: list[dict[str, float]]) -> dict[str, float]:
    return {
        key: sum(record[key] for record in records) / len(records)
        for key in records[-1]
    }


class RunLog:
    """Writes records to all three places. Close it, or use it in a `with`.

    On a terminal, a progress bar shows every step; elsewhere there is one plain line
    per epoch.

    Args:
      run_dir: the run's folder.
      console: where to print.
      start_step: records after this step are of a future that a resumed run does
        again; they are dropped.
      num_steps: updates in the whole run.
      steps_per_epoch: updates in each epoch.
      batch_size: images per update.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        console: rich.console.Console,
        start_step: int,
        num_steps: int,
        steps_per_epoch: int,
        batch_size: int,
    ):
        kept = [r for r in read_metrics(run_dir) if r["step"] <= start_step]
        scratch = run_dir / f".{METRICS}.new"
        scratch.write_text("".join(json.dumps(record) + "\n" for record in kept))
        os.replace(scratch, run_dir / METRICS)
        self._file = (run_dir / METRICS).open("a")
        self._tensorboard = tensorboardX.SummaryWriter(
            str(run_dir / "tensorboard"), purge_step=start_step + 1
        )
        self._num_steps, self._steps_per_epoch = num_steps, steps_per_epoch
        self._batch_size = batch_size
        self._window: list[dict[str, float]] = []
        self._seconds: list[dict[str, float]] = []  # Of all steps but the first.
        self._console = console
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.TextColumn("{task.fields[numbers]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            "compiling", total=num_steps, completed=start_step, numbers=""
        )
        self._progress.start()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flushes the files and removes the progress bar."""
        self._progress.stop()
        self._tensorboard.close()
        self._file.close()

    def step(
        self, step: int, metrics: dict[str, float], seconds: dict[str, float]
    ) -> None:
        """Shows the metrics of one update; `epoch` writes their mean.

        Args:
          step: number of updates done.
          metrics: "loss", "learning_rate" and any others.
          seconds: what the host spent on the update, by activity; {} of the first
            update, which compiles.
        """
        self._window.append(metrics)
        if seconds:
            self._seconds.append(seconds)
        self._progress.update(
            self._task,
            completed=step,
            description=self._position(step),
            numbers=self._numbers(step, metrics),
        )

    def epoch(self, step: int, validation: dict[str, float]) -> None:
        """Writes the mean of the updates since the last call, and an evaluation.

        Args:
          step: number of updates done.
          validation: the metrics of the evaluation at this step.
        """
        train = _means(self._window)
        train["learning_rate"] = self._window[-1]["learning_rate"]
        self._write(step, "train", train | self.speed(len(self._window)))
        self._write(step, "validation", validation)
        scores = "  ".join(
            f"{name.replace('_', ' ')} {value:.4f}"
            for name, value in validation.items()
            if name != "loss"
        )
        self._console.print(
            f"{self._position(step)}  {self._numbers(step, train)}  "
            f"validation {scores}",
            highlight=False,
            soft_wrap=True,
        )
        self._window.clear()

    def speed(self, last: int = 0) -> dict[str, float]:
        """Returns the images per second, and the mean seconds of a step by activity.

        Evaluations, checkpoints and the first step do not count.

        Args:
          last: of how many of the newest steps; 0 for all since the log was made.
        """
        if not self._seconds:
            return {}
        means = _means(self._seconds[-last:])
        rate = self._batch_size / sum(means.values())
        return means | {"images_per_second": rate}

    def _position(self, step: int) -> str:
        epoch = -(-step // self._steps_per_epoch)
        epochs = self._num_steps // self._steps_per_epoch
        return f"epoch {epoch}/{epochs}  step {step}/{self._num_steps}"

    def _numbers(self, step: int, metrics: dict[str, float]) -> str:
        left, rate = "-:--:--", self.speed(len(self._window)).get("images_per_second")
        if rate:
            seconds = (self._num_steps - step) * self._batch_size / rate
            left = str(datetime.timedelta(seconds=round(seconds)))
        shown = [name for name in ("loss", "accuracy") if name in metrics]
        scores = "  ".join(f"{name} {metrics[name]:.4f}" for name in shown)
        return (
            f"{scores}  rate {metrics['learning_rate']:.4f}  "
            f"{rate or 0:.0f} images/s  {left} left"
        )

    def _write(self, step: int, split: str, metrics: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, "split": split} | metrics) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._tensorboard.add_scalar(f"{split}/{name}", value, step)
