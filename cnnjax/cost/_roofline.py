"""How fast layers can be on a machine: as its arithmetic or its memory allows."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnjax.cost._devices import Device, find_device
from cnnjax.cost._format import as_text, short
from cnnjax.cost._report import CostReport, stage_of


@dataclasses.dataclass(frozen=True)
class RooflineRow:
    """How long one layer takes at least.

    Attributes:
      path: of the layer.
      macs: multiply-accumulates, those on padding left out.
      dtype: of what they multiply; of several layers, of most of the MACs.
      num_bytes: read and written.
      seconds: the longer of the time for the products and the time for the bytes.
      bound: which of the two that is, "compute" or "memory"; of several layers, that
        of most of the time.
      utilisation: share of the machine's arithmetic that is used in that time.
    """

    path: str
    macs: int
    dtype: str
    num_bytes: int
    seconds: float
    bound: str
    utilisation: float

    @property
    def intensity(self) -> float:
        """MACs per byte."""
        return self.macs / max(self.num_bytes, 1)


@dataclasses.dataclass(frozen=True)
class Roofline:
    """How long the layers of a report take at least on a device; see `roofline`.

    Attributes:
      name: of the model or function.
      device: the machine.
      rows: one per row of the report.
    """

    name: str
    device: Device
    rows: tuple[RooflineRow, ...]

    @property
    def seconds(self) -> float:
        """The least time of all layers, one after the other."""
        return math.fsum(row.seconds for row in self.rows)

    @property
    def utilisation(self) -> float:
        """Share of the machine's arithmetic that is used in that time."""
        return _merged("", self.rows).utilisation

    @property
    def peak(self) -> float:
        """The machine's operations per second, of the dtype of most MACs."""
        return self.device.peak_of(_merged("", self.rows).dtype or "float32")

    def stages(self) -> "Roofline":
        """Adds up the layers of each stage, which still wait for one another."""
        stages: dict[str, list[RooflineRow]] = {}
        for row in self.rows:
            stages.setdefault(stage_of(row.path), []).append(row)
        merged = (_merged(path, rows) for path, rows in stages.items())
        return dataclasses.replace(self, rows=tuple(merged))

    def to_dict(self) -> dict[str, Any]:
        """Returns device, totals and rows as a plain dictionary."""
        return {
            "device": dataclasses.asdict(self.device),
            "seconds": self.seconds,
            "utilisation": self.utilisation,
            "rows": [dataclasses.asdict(row) for row in self.rows],
        }

    def plot(self, path: Path) -> None:
        """Draws the layers under the machine's roof as a PNG file."""
        from cnnjax import plots

        plots.roofline(
            path,
            f"{self.name} on {self.device.name}",
            [(row.intensity, row.macs / row.seconds) for row in self.rows if row.macs],
            peak=self.peak / 2,
            bandwidth=self.device.bandwidth,
        )

    def __rich__(self) -> Any:
        import rich.table

        table = rich.table.Table(title=f"{self.name} on {self.device.name}")
        table.add_column("layer")
        for heading in ("MACs", "moved", "MACs / byte", "time", "bound", "utilisation"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            table.add_row(
                row.path or "(outside of modules)",
                short(row.macs),
                f"{short(row.num_bytes)}B",
                f"{row.intensity:.1f}",
                f"{row.seconds * 1e6:,.1f} µs",
                row.bound,
                f"{row.utilisation:.1%}",
            )
        table.add_section()
        total = f"{self.seconds * 1e6:,.1f} µs"
        table.add_row("total", "", "", "", total, "", f"{self.utilisation:.1%}")
        peak, bandwidth = short(int(self.peak)), short(int(self.device.bandwidth))
        table.caption = (
            f"at best, with {peak}FLOP/s and {bandwidth}B/s ({self.device.source})"
        )
        return table

    def __str__(self) -> str:
        return as_text(self)


def roofline(report: CostReport, device: Device | str) -> Roofline:
    """Says how long each layer takes at least, and what holds it up.

    A layer has to compute its products and to move its bytes; the machine does both at
    the same time, each at its peak. A depthwise convolution has K K MACs per number it
    writes, a standard one C times as many, but they move about the same bytes: so it
    is the memory that the depthwise one waits for. Arithmetic other than products
    counts as free.

    Args:
      report: from `analyze`, per layer; with `report.grouped(1)`, nothing is moved
        within blocks.
      device: a machine, or its name: one of `DEVICES`, or "cpu", which is measured.

    Returns:
      A row for each of the report's.

    Raises:
      UserError: if there is no device of that name, or no peak is known for the dtype
        of a product.

    Source: Williams et al., 2009, https://doi.org/10.1145/1498765.1498785.
    """
    device = find_device(device) if isinstance(device, str) else device
    rows = []
    for row in report.rows:
        num_bytes = row.bytes_read + row.bytes_written
        # Those on padding need not be computed.
        macs = row.macs_in_bounds
        products = 2 * macs / device.peak_of(row.product_dtype) if macs else 0.0
        moving = num_bytes / device.bandwidth
        seconds = max(products, moving)
        rows.append(
            RooflineRow(
                path=row.path,
                macs=macs,
                dtype=row.product_dtype,
                num_bytes=num_bytes,
                seconds=seconds,
                bound="compute" if products > moving else "memory",
                utilisation=products / seconds if seconds else 0.0,
            )
        )
    return Roofline(report.name, device, tuple(rows))


def _merged(path: str, rows: Sequence[RooflineRow]) -> RooflineRow:
    seconds = math.fsum(row.seconds for row in rows)
    computing = math.fsum(row.seconds for row in rows if row.bound == "compute")
    used = math.fsum(row.utilisation * row.seconds for row in rows)
    return RooflineRow(
        path=path,
        macs=sum(row.macs for row in rows),
        dtype=max(rows, key=lambda row: row.macs).dtype if rows else "",
        num_bytes=sum(row.num_bytes for row in rows),
        seconds=seconds,
        bound="compute" if 2 * computing > seconds else "memory",
        utilisation=used / seconds if seconds else 0.0,
    )
