"""What `classify.py` shows of a finished run: pictures and a table."""

from pathlib import Path
from typing import Any

import numpy as np
import rich.table
import training

from cnnjax import data, train


def draw_classes(run_dir: Path, source: data.Source, predictions: np.ndarray) -> Any:
    """Draws the learning curves and the confusion matrix; returns the true classes."""
    from cnnjax import plots  # Matplotlib takes a second to load.

    labels = np.array([example["label"] for example in source])
    plots.learning_curves(run_dir / "curves.png", train.read_metrics(run_dir))
    plots.confusion_matrix(
        run_dir / "confusion.png", labels, predictions, source.class_names
    )
    return labels


def draw(run_dir: Path, source: data.ImageSource, predictions: np.ndarray) -> None:
    """Draws the learning curves, the confusion matrix and the mistakes."""
    from cnnjax import plots

    names, labels = source.class_names, draw_classes(run_dir, source, predictions)
    wrong = np.flatnonzero(predictions != labels).tolist()
    plots.misclassified(
        run_dir / "misclassified.png",
        [source[i]["image"] for i in wrong[:64]],
        [f"{i}: {names[labels[i]]} as {names[predictions[i]]}" for i in wrong[:64]],
        title=f"{min(len(wrong), 64)} of {len(wrong)} misclassified images",
    )


def report(
    run_dir: Path,
    source: data.ImageSource,
    tested: train.Evaluation,
    results: dict[str, Any],
) -> rich.table.Table:
    """Draws the pictures; returns the last thing that a run prints."""
    draw(run_dir, source, tested.predictions)
    wrong = round((1 - results["test_accuracy"]) * results["test_images"])
    scores = {
        "test accuracy": f"{results['test_accuracy']:.2%}",
        "test errors": f"{wrong} of {results['test_images']}",
        "validation accuracy": f"{results['validation_accuracy']:.2%}",
    }
    return training.table(results, run_dir, scores)
