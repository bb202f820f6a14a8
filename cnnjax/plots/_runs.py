"""Pictures of a run and of predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import matplotlib.ticker
import numpy as np
from jaxtyping import Int, UInt8


_DPI = 120


def learning_curves(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Draws loss, what else is known of the scores, and learning rate over the steps.

    Args:
      path: the PNG file to write.
      records: as `cnnjax.train.read_metrics` returns them.
    """
    scores = ("accuracy", "mean_iou", "map50")
    known = [name for name in scores if any(name in record for record in records)]
    names = ["loss", *(known or scores[:1]), "learning_rate"]
    size = (4 * len(names), 3.6)
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained", dpi=_DPI)
    panels = figure.subplots(1, len(names))
    for axes, name in zip(panels, names, strict=True):
        for split in ("train", "validation"):
            points = [
                (r["step"], r[name])
                for r in records
                if r["split"] == split and name in r
            ]
            if points:
                axes.plot(
                    *zip(*points, strict=True), label=split, marker=".", markersize=4
                )
        axes.set(xlabel="step", title=name.replace("_", " "))
        axes.grid(alpha=0.3)
    panels[0].set_yscale("log")
    for axes in panels[1:-1]:
        axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(xmax=1))
    if records:
        panels[0].legend()
    figure.savefig(path)


def confusion_matrix(
    path: Path,
    labels: Int[np.ndarray, " n"],
    predictions: Int[np.ndarray, " n"],
    class_names: Sequence[str],
) -> None:
    """Draws how often each class (row) was taken for each class (column).

    Args:
      path: the PNG file to write.
      labels: the true class of each image.
      predictions: the predicted class of each image.
      class_names: one per class.
    """
    n = len(class_names)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    side = float(np.clip(0.5 * n, 4, 16))
    figure = matplotlib.figure.Figure((side + 1, side), layout="constrained", dpi=_DPI)
    axes = figure.subplots()
    # Shares of the row, so that rare classes show as well as frequent ones.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class")
    if n <= 20:
        axes.set_xticks(
            range(n), class_names, rotation=90 if max(map(len, class_names)) > 2 else 0
        )
        axes.set_yticks(range(n), class_names)
        for row, column in np.argwhere(counts > 0):
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                color="white" if shares[row, column] > 0.5 else "black",
            )
    errors = int(len(labels) - np.trace(counts))
    axes.set(
        xlabel="predicted",
        ylabel="true",
        title=f"{errors} errors in {len(labels)} images",
    )
    figure.savefig(path)


def misclassified(
    path: Path,
    images: Sequence[UInt8[np.ndarray, "h w c"]],
    captions: Sequence[str],
    *,
    title: str,
    columns: int = 8,
) -> None:
    """Draws a page of images, each with a caption above.

    Args:
      path: the PNG file to write.
      images: grey (c = 1) or RGB (c = 3) images; may be none.
      captions: one per image.
      title: stands above the page.
      columns: images per row.
    """
    rows = max(1, -(-len(images) // columns))
    size = (1.4 * columns, 1.7 * rows + 0.5)
    figure = matplotlib.figure.Figure(size, layout="constrained", dpi=_DPI)
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, caption in zip(grid, images, captions, strict=False):
        grey = image.shape[-1] == 1
        axes.imshow(image[..., 0] if grey else image, cmap="gray" if grey else None)
        axes.set_title(caption, fontsize=8)
    figure.savefig(path)


def predictions(
    path: Path,
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    answers: Sequence[Sequence[tuple[str, float]]],
) -> None:
    """Draws photographs, each with bars of the likeliest labels beside it.

    Args:
      path: the PNG file to write.
      images: RGB images of any size; at least one.
      answers: of each image the labels and their probabilities, the likeliest first.
    """
    size = (9, 2.6 * len(images))
    figure = matplotlib.figure.Figure(size, layout="constrained", dpi=_DPI)
    for (left, right), image, answer in zip(
        figure.subplots(len(images), 2, squeeze=False), images, answers, strict=True
    ):
        left.imshow(image)
        left.axis("off")
        names, probabilities = zip(*answer, strict=True)
        bars = right.barh(range(len(names)), probabilities)
        right.bar_label(bars, [f"{p:.1%}" for p in probabilities], padding=3)
        right.set_yticks(range(len(names)), names)
        right.invert_yaxis()
        right.set_xlim(0, 1.15)  # Room for the labels of full bars.
        right.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(xmax=1))
        right.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
