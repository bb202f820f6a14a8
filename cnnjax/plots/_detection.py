"""Pictures of where objects are."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.colors
import matplotlib.figure
import matplotlib.lines
import matplotlib.patches
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from cnnjax.plots._segmentation import class_colours


_DPI = 120
_OPACITY = 0.4  # Of masks.
# What became of objects and detections; the lines differ for the colour-blind.
_HIT: dict[str, Any] = {"color": "limegreen", "linestyle": "-"}
_MISS: dict[str, Any] = {"color": "orange", "linestyle": "--"}
_FALSE: dict[str, Any] = {"color": "red", "linestyle": ":"}


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of one image, true or detected.

    Attributes:
      boxes_xyxy: in pixels; of detections, those of the best first.
      labels: their classes.
      scores: of detections; None for true objects.
      masks: which pixels they cover, if known.
      ignored: of true objects, which ones need not be found; None for none of them.
    """

    boxes_xyxy: Float[np.ndarray, "k 4"]
    labels: Integer[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"] | None = None
    masks: Bool[np.ndarray, "k h w"] | None = None
    ignored: Bool[np.ndarray, " k"] | None = None

    def captions(self, class_names: Sequence[str]) -> list[str]:
        """Returns what stands at each box: the class and the score."""
        names = [class_names[int(label)] for label in self.labels]
        if self.scores is None:
            return names
        pairs = zip(names, self.scores, strict=True)
        return [f"{name} {score:.2f}" for name, score in pairs]


def boxes(
    path: Path,
    images: Sequence[UInt8[np.ndarray, "_ _ _"]],
    objects: Sequence[Objects],
    class_names: Sequence[str],
    columns: int = 4,
) -> None:
    """Draws images with the boxes of objects, and their masks, in colours of classes.

    Args:
      path: the PNG file to write.
      images: grey or RGB; at least one.
      objects: of each image.
      class_names: one per class, at most 256.
      columns: images per row.
    """
    figure, panels = _panels(images, columns)
    colours = class_colours(len(class_names)) / 255
    for axes, found in zip(panels, objects, strict=True):
        colour = colours[found.labels]
        if found.masks is not None:
            _paint(axes, found.masks, colour)
        captions = found.captions(class_names)
        for box, caption, own in zip(found.boxes_xyxy, captions, colour, strict=True):
            _box(axes, box, caption, color=tuple(own))
    _save(figure, path)


def hits_and_misses(
    path: Path,
    images: Sequence[UInt8[np.ndarray, "_ _ _"]],
    objects: Sequence[Objects],
    detections: Sequence[Objects],
    class_names: Sequence[str],
    iou_threshold: float = 0.5,
    columns: int = 4,
) -> None:
    """Draws what was found (green), what was missed (orange), what is not there (red).

    Each detection, the best first, is a hit if the IoU with an object of its class that
    is not yet found reaches a threshold. Ignored objects are not drawn, nor is what
    finds them.

    Args:
      path: the PNG file to write.
      images: grey or RGB; at least one.
      objects: the true ones of each image.
      detections: those of each image.
      class_names: one per class.
      iou_threshold: the least IoU of a hit.
      columns: images per row.
    """
    figure, panels = _panels(images, columns, extra=0.4)
    counts = np.zeros(3, int)
    for axes, true, found in zip(panels, objects, detections, strict=True):
        hit, missed, false = _match(true, found, iou_threshold)
        parts = ((found, hit, _HIT), (true, missed, _MISS), (found, false, _FALSE))
        for k, (rows, chosen, style) in enumerate(parts):
            captions = rows.captions(class_names)
            counts[k] += chosen.sum()
            for i in np.flatnonzero(chosen):
                _box(axes, rows.boxes_xyxy[i], captions[i], **style)
    lines = [
        matplotlib.lines.Line2D([], [], **style, label=f"{name} ({count})")
        for name, style, count in zip(
            ("found", "missed", "false"), (_HIT, _MISS, _FALSE), counts, strict=True
        )
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=3)
    _save(figure, path)


def precision_recall(
    path: Path,
    curves: Sequence[tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]],
    names: Sequence[str],
) -> None:
    """Draws precision over recall, a line for each class.

    Args:
      path: the PNG file to write.
      curves: recall and precision of each class, by growing recall.
      names: one per curve.
    """
    columns = -(-len(names) // 25)  # Of the legend.
    size = (5.2 + 1.2 * columns, 4.4)
    figure = matplotlib.figure.Figure(size, layout="constrained", dpi=_DPI)
    axes = figure.subplots()
    # Colours come ten at a time.
    for k, ((recall, precision), name) in enumerate(zip(curves, names, strict=True)):
        style = ("-", "--", ":", "-.")[k // 10 % 4]
        axes.plot(recall, precision, linestyle=style, label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    if names:
        figure.legend(loc="outside right upper", fontsize=7, ncols=columns)
    _save(figure, path)


def anchors(
    path: Path,
    image: UInt8[np.ndarray, "_ _ _"],
    groups: Mapping[str, Float[np.ndarray, "_ 4"]],
    objects_xyxy: Float[np.ndarray, "m 4"] | None = None,
) -> None:
    """Draws some of a detector's anchors over an image, a panel for each group of them.

    Args:
      path: the PNG file to write.
      image: grey or RGB.
      groups: anchors in pixels by what stands above them, e.g. those of one place of a
        map, or those that match objects. They may leave the image.
      objects_xyxy: the objects, if there are any, in black and white.
    """
    figure, panels = _panels([image] * len(groups), 4, side=4.0, extra=0.4)
    drawn = np.concatenate([*groups.values(), [[0, 0, *image.shape[1::-1]]]])
    left, top = drawn[:, :2].min(axis=0) - 1
    right, bottom = drawn[:, 2:].max(axis=0) + 1
    for axes, (title, shown) in zip(panels, groups.items(), strict=True):
        axes.set_title(title, fontsize=9)
        for box in [] if objects_xyxy is None else objects_xyxy:
            _box(axes, box, color="black")
            _box(axes, box, color="white", linestyle="--")
        for k, box in enumerate(shown):
            _box(axes, box, color=f"C{k % 10}")
        axes.set(xlim=(left, right), ylim=(bottom, top))
    _save(figure, path)


def _panels(
    images: Sequence[np.ndarray],
    columns: int,
    side: float | None = None,
    extra: float = 0.0,
) -> tuple[matplotlib.figure.Figure, list[Any]]:
    """Returns a figure and axes that show images.

    Args:
      images: of any sizes.
      columns: at most so many stand side by side.
      side: width of each, in inches (default: 4, or 8 of a single one).
      extra: inches of height for what else there is.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    side = side or (8.0 if len(images) == 1 else 4.0)
    tall = max(image.shape[0] / image.shape[1] for image in images)
    size = (side * columns, side * min(tall, 2) * rows + extra)
    figure = matplotlib.figure.Figure(size, layout="constrained", dpi=_DPI)
    grid = [*figure.subplots(rows, columns, squeeze=False).flat]
    for axes in grid:
        axes.axis("off")
    for axes, image in zip(grid, images, strict=False):
        height, width = image.shape[:2]
        whole = (0, width, height, 0)  # Pixels begin at whole numbers, as boxes do.
        axes.imshow(np.broadcast_to(image, (height, width, 3)), extent=whole)
    return figure, grid[: len(images)]


def _box(axes: Any, box: np.ndarray, caption: str = "", **style: Any) -> None:
    """Draws a box, and its caption where it stays in the picture."""
    x1, y1, x2, y2 = map(float, box)
    size = (x2 - x1, y2 - y1)
    axes.add_patch(
        matplotlib.patches.Rectangle(
            (x1, y1), *size, fill=False, linewidth=1.5, **style
        )
    )
    if not caption:
        return
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    inside = y1 - top < 0.06 * (bottom - top)
    flush = x1 - left > 0.75 * (right - left)
    light = np.dot(matplotlib.colors.to_rgb(style["color"]), (0.3, 0.59, 0.11)) > 0.5
    axes.text(
        x2 if flush else x1,
        y1,
        caption,
        ha="right" if flush else "left",
        va="top" if inside else "bottom",
        fontsize=7,
        color="black" if light else "white",
        bbox={"facecolor": style["color"], "edgecolor": "none", "pad": 1},
        clip_on=True,
    )


def _paint(axes: Any, masks: np.ndarray, colours: np.ndarray) -> None:
    """Draws masks, the first on top."""
    shade = np.zeros((*masks.shape[1:], 4))
    for mask, colour in zip(masks[::-1], colours[::-1], strict=True):
        shade[mask] = (*colour, _OPACITY)
    height, width = masks.shape[1:]
    axes.imshow(shade, extent=(0, width, height, 0))


def _match(
    objects: Objects, detections: Objects, iou_threshold: float
) -> tuple[Bool[np.ndarray, " k"], Bool[np.ndarray, " m"], Bool[np.ndarray, " k"]]:
    """Returns which detections are hits, which objects are missed, what is false."""
    ignored = objects.ignored
    if ignored is None:
        ignored = np.zeros(len(objects.labels), bool)
    hit, false = (np.zeros(len(detections.labels), bool) for _ in range(2))
    seen = np.zeros_like(ignored)
    overlaps = _iou(detections.boxes_xyxy, objects.boxes_xyxy)
    for i, label in enumerate(detections.labels):
        fits = (objects.labels == label) & (overlaps[i] >= iou_threshold)
        if (free := fits & ~seen & ~ignored).any():
            hit[i] = seen[np.where(free, overlaps[i], -1).argmax()] = True
        else:
            false[i] = not (fits & ignored).any()
    return hit, ~seen & ~ignored, false


def _iou(
    first: Float[np.ndarray, "k 4"], second: Float[np.ndarray, "m 4"]
) -> Float[np.ndarray, "k m"]:
    a, b = first[:, None], second[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(0).prod(axis=-1)
    areas = ((x[..., 2:] - x[..., :2]).prod(axis=-1) for x in (a, b))
    return shared / np.maximum(sum(areas) - shared, np.finfo(np.float32).tiny)


def _save(figure: matplotlib.figure.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
