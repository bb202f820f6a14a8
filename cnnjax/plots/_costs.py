"""Pictures of what models cost and see."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.figure
import matplotlib.patches
import matplotlib.ticker
import numpy as np
from jaxtyping import Float


_DPI = 120


class Bubble(NamedTuple):
    """One model of `bubbles`.

    Attributes:
      name: what stands beside it.
      params: how many parameters.
      macs: multiply-accumulates of one image.
      size: what its area stands for.
      family: models of one have one colour.
    """

    name: str
    params: int
    macs: int
    size: float
    family: str


def stages(
    path: Path,
    title: str,
    names: Sequence[str],
    macs: Sequence[int],
    params: Sequence[int],
) -> None:
    """Draws bars of MACs and of parameters, one pair per stage.

    Args:
      path: the PNG file to write.
      title: stands above.
      names, macs, params: of the stages, in order.
    """
    width = max(5.0, 1.5 + 0.45 * len(names))
    figure = matplotlib.figure.Figure((width, 5), layout="constrained", dpi=_DPI)
    figure.suptitle(title)
    panels = figure.subplots(2, 1, sharex=True)
    counts = (("MACs", macs, "tab:blue"), ("parameters", params, "tab:orange"))
    for axes, (label, values, colour) in zip(panels, counts, strict=True):
        axes.bar(range(len(names)), values, color=colour)
        axes.set_ylabel(label)
        axes.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter())
        axes.spines[["top", "right"]].set_visible(False)
    panels[1].set_xticks(range(len(names)), names, rotation=90)
    figure.savefig(path)


def bubbles(path: Path, models: Sequence[Bubble], *, size: str) -> None:
    """Draws models by parameters and MACs, with bubbles of a third size.

    Args:
      path: the PNG file to write.
      models: at least one.
      size: what the area of a bubble stands for, e.g. "bytes of activations".
    """
    figure = matplotlib.figure.Figure((10, 7), layout="constrained", dpi=_DPI)
    axes = figure.subplots()
    largest = max(model.size for model in models)
    for i, family in enumerate(dict.fromkeys(model.family for model in models)):
        own = [model for model in models if model.family == family]
        axes.scatter(
            [model.params for model in own],
            [model.macs for model in own],
            [20 + 1500 * model.size / largest for model in own],
            label=family,
            color=f"C{i % 10}",
            alpha=0.5,
        )
    for model in models:
        axes.annotate(model.name, (model.params, model.macs), fontsize=7, ha="center")
    axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel="MACs per image")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(matplotlib.ticker.EngFormatter())
    axes.set_title(f"area: {size}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8, markerscale=0.4)
    figure.savefig(path)


def roofline(
    path: Path,
    title: str,
    layers: Sequence[tuple[float, float]],
    *,
    peak: float,
    bandwidth: float,
) -> None:
    """Draws layers under the roof of a machine.

    Args:
      path: the PNG file to write.
      title: stands above.
      layers: MACs per byte and MACs per second of each; at least one.
      peak: MACs per second.
      bandwidth: bytes per second.
    """
    figure = matplotlib.figure.Figure((7, 5), layout="constrained", dpi=_DPI)
    axes = figure.subplots()
    ridge = peak / bandwidth
    intensities = np.array([intensity for intensity, _ in layers])
    ends = np.array([min(intensities.min(), ridge) / 2, max(intensities.max(), ridge)])
    roof = np.geomspace(ends[0], 2 * ends[1], 200)
    axes.plot(roof, np.minimum(peak, bandwidth * roof), color="black")
    axes.axvline(ridge, color="gray", linestyle=":", label=f"{ridge:.0f} MACs per byte")
    axes.scatter(*zip(*layers, strict=True), alpha=0.5, label="layers")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="MACs per byte",
        ylabel="MACs per second",
        title=title,
    )
    axes.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter())
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def scaling(
    path: Path,
    title: str,
    curves: Mapping[str, Sequence[tuple[int, float, float]]],
) -> None:
    """Draws how fast chips are together, and what is left of the speed of each.

    Args:
      path: the PNG file to write.
      title: stands above.
      curves: by name, numbers of chips, ascending, with images per second without and
        with the latency of the links.
    """
    figure = matplotlib.figure.Figure((11, 4.5), layout="constrained", dpi=_DPI)
    figure.suptitle(title)
    rates, shares = figure.subplots(1, 2)
    for i, (name, points) in enumerate(curves.items()):
        chips, *both = (np.array(column) for column in zip(*points, strict=True))
        for rate, line in zip(both, ("-", "--"), strict=True):
            style = {"color": f"C{i}", "linestyle": line}
            style |= {"marker": "os^vDX"[i % 6], "fillstyle": "none"}
            label = name if line == "-" else None
            rates.plot(chips, rate, label=label, **style)
            if len(chips) > 1:
                shares.plot(chips, rate / chips / (rate[0] / chips[0]), **style)
    ticks = sorted({point[0] for points in curves.values() for point in points})
    for axes in (rates, shares):
        axes.set_xscale("log")
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
        axes.set_xlabel("chips")
        axes.grid(alpha=0.3)
    rates.set(yscale="log", ylabel="images per second")
    rates.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter())
    rates.legend(fontsize=7)
    shares.set_ylabel(f"efficiency: images/s per chip, relative to {ticks[0]} chips")
    shares.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(xmax=1))
    figure.supxlabel("dashed: with the latency of the links", fontsize=8)
    figure.savefig(path)


def receptive_field(
    path: Path,
    panels: Sequence[
        tuple[str, Float[np.ndarray, "h w"], tuple[float, float, float, float]]
    ],
) -> None:
    """Draws how strongly pixels count, within the field that geometry allows.

    Args:
      path: the PNG file to write.
      panels: for each output its name, the strength of each pixel, and the first row,
        first column, last row and last column of the theoretical field, which may be
        infinite.
    """
    size = (3.2 * len(panels), 3.6)
    figure = matplotlib.figure.Figure(size, layout="constrained", dpi=_DPI)
    rows = figure.subplots(1, len(panels), squeeze=False)
    for axes, (name, strength, bounds) in zip(rows[0], panels, strict=True):
        axes.imshow(np.sqrt(strength / max(strength.max(), 1e-30)), cmap="magma")
        height, width = strength.shape
        top, left = (max(-0.5, bound - 0.5) for bound in bounds[:2])
        bottom, right = (
            min(size - 0.5, bound + 0.5)
            for bound, size in zip(bounds[2:], (height, width), strict=True)
        )
        axes.add_patch(
            matplotlib.patches.Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor="cyan",
                linewidth=2,
            )
        )
        axes.set_title(name, fontsize=9)
        axes.axis("off")
    figure.suptitle("root of the mean gradient; frame: theoretical field", fontsize=9)
    figure.savefig(path)
