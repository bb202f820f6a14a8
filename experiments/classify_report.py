"""What `classify.py` shows of a finished run: pictures and a table."""

from pathlib import Path
from typing import Any

import numpy as np
import rich.table

from cnnjax import data, train


def draw(run_dir: Path, source: data.ImageSource, predictions: np.ndarray) -> None:
    """Draws the learning curves, the confusion matrix and the mistakes."""
    from cnnjax import plots  # Matplotlib takes a second to load.

    names = source.class_names
    labels = np.array([example["label"] for example in source])
    wrong = np.flatnonzero(predictions != labels).tolist()
    plots.learning_curves(run_dir / "curves.png", train.read_metrics(run_dir))
    plots.confusion_matrix(run_dir / "confusion.png", labels, predictions, names)
    plots.misclassified(
        run_dir / "misclassified.png",
        [source[i]["image"] for i in wrong[:64]],
        [f"{i}: {names[labels[i]]} as {names[predictions[i]]}" for i in wrong[:64]],
        title=f"{min(len(wrong), 64)} of {len(wrong)} misclassified images",
    )


def table(results: dict[str, Any], run_dir: Path) -> rich.table.Table:
    """Returns the last thing that a run prints."""
    wrong = round((1 - results["test_accuracy"]) * results["test_images"])
    rows = {
        "test accuracy": f"{results['test_accuracy']:.2%}",
        "test errors": f"{wrong} of {results['test_images']}",
        "validation accuracy": f"{results['validation_accuracy']:.2%}",
        "parameters": f"{results['num_params']:,}",
        "time": f"{results['seconds']:.0f} s",
        "speed": speed_line(results),
        "results and pictures": str(run_dir),
    }
    table = rich.table.Table(title=results["config"]["model"], show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def speed_line(results: dict[str, Any]) -> str:
    """Says how fast the training was, and where the host's time went."""
    speed = dict(results["speed"])
    if not speed:
        return "-"
    line = f"{speed.pop('images_per_second'):.0f} images/s"
    if results["utilisation"] is not None:
        line += f", {results['utilisation']:.0%} of the peak"
    shares = {name: seconds / sum(speed.values()) for name, seconds in speed.items()}
    parts = (f"{name.split('_')[0]} {share:.0%}" for name, share in shares.items())
    return f"{line}; {', '.join(parts)}"
