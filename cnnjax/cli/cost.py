"""`python -m cnnjax cost`: what models cost."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import rich.console
import rich.table
import tyro

import cnnjax
from cnnjax import errors
from cnnjax.cost import CostReport


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

    Args:
        models: names that `python -m cnnjax models` lists.
        image_size: rows and columns (default: the model's own).
        batch: images per call.
        dtype: of images and activations; parameters are float32.
        per: a row for every layer, every stage, or one for each model.
        device: also says what each row takes there at least, and why: tpu_v4, tpu_v5e,
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
    shown = [_rows(report, per) for report in reports]
    roofs = [cnnjax.cost.roofline(r, machine) for r in shown] if machine else []
    if json:
        _print_json(shown, roofs)
    else:
        console = rich.console.Console()
        console.print(*([_summary(shown)] if per == "model" else shown), sep="\n")
        for roof in roofs:
            console.print(roof)
    if pictures is not None:
        _draw(pictures, reports, machine)


def _analyze(name: str, image_size: int | None, batch: int, dtype: str) -> CostReport:
    model = cnnjax.create(name, dtype=jnp.dtype(dtype))
    side = image_size or model.image_size
    images = jax.ShapeDtypeStruct((batch, side, side, 3), jnp.dtype(dtype))
    return dataclasses.replace(cnnjax.cost.analyze(model, images), name=name)


def _rows(report: CostReport, per: str) -> CostReport:
    if per == "layer":
        return report
    return report.stages() if per == "stage" else report.grouped(0)


def _summary(reports: Sequence[CostReport]) -> rich.table.Table:
    """Makes one row per model."""
    table = rich.table.Table("model")
    columns = ("parameters", "MACs", "in bounds", "weights", "activations", "peak")
    for heading in columns:
        table.add_column(heading, justify="right")
    for report in reports:
        counts = (report.num_params, report.macs, report.macs_in_bounds)
        bits = (report.param_bits, report.activation_bits, 8 * report.peak_memory_bytes)
        table.add_row(
            report.name,
            *(f"{count:,}" for count in counts),
            *(f"{b / 8e6:,.1f} MB" for b in bits),
        )
    return table


def _print_json(reports: Sequence[CostReport], roofs: Sequence[Any]) -> None:
    described = [report.to_dict() for report in reports]
    for entry, roof in zip(described, roofs, strict=False):
        entry["roofline"] = roof.to_dict()
    print(json.dumps(described, indent=1))


def _draw(
    folder: Path, reports: Sequence[CostReport], machine: cnnjax.cost.Device | None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for report in reports:
        drawn.append(folder / f"{report.name}_stages.png")
        report.plot_stages(drawn[-1])
        if machine:
            drawn.append(folder / f"{report.name}_roofline.png")
            cnnjax.cost.roofline(report, machine).plot(drawn[-1])
    if len(reports) > 1:
        drawn.append(folder / "models.png")
        cnnjax.cost.plot_models(drawn[-1], reports)
    for path in drawn:
        print(f"wrote {path}")
