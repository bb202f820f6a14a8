"""`python -m cnnjax cost`: what models cost."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import rich.console
import rich.table
import tyro

import cnnjax
from cnnjax import errors
from cnnjax.cost import CostReport, Roofline


def cost(
    models: Annotated[tuple[str, ...], tyro.conf.Positional],
    image_size: int | None = None,
    batch: int = 1,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    per: Literal["layer", "stage", "model"] = "model",
    device: str | None = None,
    json: bool = False,
    pictures: Path | None = None,
) -> None:
    """Counts multiply-accumulates (MACs), parameters and bytes; nothing is computed.

    MACs are of every tap of every output; those "in bounds" leave taps on padding out.
    The peak is of activations that exist at one time, returned endpoints included.

    Args:
        models: names that `python -m cnnjax models` lists.
        image_size: rows and columns (default: the model's own).
        batch: images per call.
        dtype: of images and activations; parameters are float32.
        per: a row for every layer, every stage, or one for each model.
        device: also says how long that takes there at least, and why: tpu_v4, tpu_v5e,
            tpu_v5p, tpu_v6e, a100, h100, h200, or cpu (measured on the spot).
        json: prints JSON instead of tables.
        pictures: a folder for pictures of the costs.
    """
    if not models:
        raise errors.UserError("name at least one model, e.g. resnet50")
    if batch < 1 or (image_size is not None and image_size < 1):
        raise errors.UserError("--batch and --image-size have to be at least 1")
    machine = None if device is None else cnnjax.cost.find_device(device)
    reports = [_analyze(name, image_size, batch, dtype) for name in models]
    roofs = [cnnjax.cost.roofline(r, machine) for r in reports] if machine else []
    if json:
        _print_json(reports, roofs, per)
    else:
        _print_tables(reports, roofs, per)
    if pictures is not None:
        _draw(pictures, reports, roofs)


def _analyze(name: str, image_size: int | None, batch: int, dtype: str) -> CostReport:
    model = cnnjax.create(name, dtype=jnp.dtype(dtype))
    side = image_size or model.image_size
    images = jax.ShapeDtypeStruct((batch, side, side, 3), jnp.dtype(dtype))
    return dataclasses.replace(cnnjax.cost.analyze(model, images), name=name)


def _print_tables(
    reports: Sequence[CostReport], roofs: Sequence[Roofline], per: str
) -> None:
    console = rich.console.Console()
    if per == "model":
        console.print(_summary(reports, roofs))
    elif per == "stage":
        console.print(*(x.stages() for x in (*reports, *roofs)), sep="\n")
    else:
        console.print(*reports, *roofs, sep="\n")


def _summary(
    reports: Sequence[CostReport], roofs: Sequence[Roofline]
) -> rich.table.Table:
    """Makes one row per model."""
    table = rich.table.Table("model")
    columns = ["parameters", "MACs", "in bounds", "weights", "activations", "peak"]
    if roofs:
        columns += [f"time on {roofs[0].device.name}", "utilisation"]
    for heading in columns:
        table.add_column(heading, justify="right")
    for i, report in enumerate(reports):
        counts = (report.num_params, report.macs, report.macs_in_bounds)
        bits = (report.param_bits, report.activation_bits, 8 * report.peak_memory_bytes)
        cells = [f"{count:,}" for count in counts]
        cells += [f"{size / 8e6:,.1f} MB" for size in bits]
        if roofs:
            cells += [f"{roofs[i].seconds * 1e6:,.1f} µs"]
            cells += [f"{roofs[i].utilisation:.1%}"]
        table.add_row(report.name, *cells)
    return table


def _print_json(
    reports: Sequence[CostReport], roofs: Sequence[Roofline], per: str
) -> None:
    described = []
    for i, report in enumerate(reports):
        entry = (report.stages() if per == "stage" else report).to_dict()
        if roofs:
            roof = roofs[i].stages() if per == "stage" else roofs[i]
            entry["roofline"] = roof.to_dict()
        if per == "model":
            for part in [entry, *([entry["roofline"]] if roofs else [])]:
                del part["rows"]
        described.append(entry)
    print(json.dumps(described, indent=1))


def _draw(
    folder: Path, reports: Sequence[CostReport], roofs: Sequence[Roofline]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for report in reports:
        drawn.append(folder / f"{report.name}_stages.png")
        report.plot_stages(drawn[-1])
    for roof in roofs:
        drawn.append(folder / f"{roof.name}_roofline.png")
        roof.plot(drawn[-1])
    if len(reports) > 1:
        drawn.append(folder / "models.png")
        cnnjax.cost.plot_models(drawn[-1], reports)
    for path in drawn:
        print(f"wrote {path}")
