"""What a function costs: rows per layer, totals, tables."""

import csv
import dataclasses
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.cost._format import as_text, short
from cnnjax.cost._walk import Equation, Walk


_COLUMNS = ("layer", "output", "parameters", "MACs", "in bounds", "read", "written")


@dataclasses.dataclass(frozen=True)
class Row:
    """What one layer, or a group of layers, costs.

    Attributes:
      path: of the module, e.g. "stage1_block1/Conv_0"; "" is outside of all.
      macs: multiply-accumulates, taps on padding included ("published").
      macs_in_bounds: the same without taps on padding, as XLA counts.
      interpolation_macs: of bilinear sampling, which `macs` leave out.
      operations: other arithmetic: numbers computed ("elementwise", "transcendental")
        or reduced ("reduction"), by kind.
      num_params: numbers in the parameters of this path.
      bytes_read: of arrays that enter the layer, parameters included, each once.
      bytes_written: of arrays that leave it.
      output_shape, dtype: of the last array that leaves it.
      product_dtype: of what its first product multiplies; "" without products.
    """

    path: str
    macs: int
    macs_in_bounds: int
    interpolation_macs: int
    operations: dict[str, int]
    num_params: int
    bytes_read: int
    bytes_written: int
    output_shape: tuple[int, ...]
    dtype: str
    product_dtype: str


@dataclasses.dataclass(frozen=True)
class CostReport:
    """What a function costs; see `analyze`.

    Attributes:
      name: of the model or function.
      rows: one per layer, in the order of the program.
      num_params: numbers in all parameters.
      param_bits: storage of the parameters.
      activation_bits: storage of the function's inputs and of what its layers write.
      peak_memory_bytes: most of the activations that exist at one time, the function's
        result included, its arguments not. Compilers need more, for copies of theirs.
      walk: the equations that the rows sum up.
      params: numbers in the parameters, by path of the module.
    """

    name: str
    rows: tuple[Row, ...]
    num_params: int
    param_bits: int
    activation_bits: int
    peak_memory_bytes: int
    walk: Walk = dataclasses.field(repr=False)
    params: Mapping[str, int] = dataclasses.field(repr=False)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, taps on padding included."""
        return sum(row.macs for row in self.rows)

    @property
    def macs_in_bounds(self) -> int:
        """Multiply-accumulates without taps on padding; half of XLA's flops."""
        return sum(row.macs_in_bounds for row in self.rows)

    @property
    def storage_bits(self) -> int:
        """Storage of parameters and activations."""
        return self.param_bits + self.activation_bits

    @property
    def arithmetic_intensity(self) -> float:
        """MACs per byte that layers read or write."""
        moved = sum(row.bytes_read + row.bytes_written for row in self.rows)
        return self.macs / max(moved, 1)

    def grouped(self, depth: int) -> "CostReport":
        """Merges the layers whose paths begin with the same `depth` parts.

        At depth 1 there is a row for each block; bytes between the layers of a group
        no longer count. A depth of 0 gives one row.
        """

        def shorter(path):
            return "/".join(path.split("/")[:depth])

        return self._grouped(shorter)

    def stages(self) -> "CostReport":
        """Merges the layers of each stage; other layers by their outermost module.

        The stages of a model of the zoo are what stands before its endpoint of that
        name: layers whose paths begin with `stage1` and so on.
        """
        return self._grouped(stage_of)

    def _grouped(self, group: Callable[[str], str]) -> "CostReport":
        rows = make_rows(self.walk, self.params, group)
        return dataclasses.replace(self, rows=tuple(rows))

    def plot_stages(self, path: Path) -> None:
        """Draws the MACs and parameters of each stage as a PNG file."""
        from cnnjax import plots

        rows = [row for row in self.stages().rows if row.macs or row.num_params]
        plots.stages(
            path,
            self.name,
            [row.path or "(outside)" for row in rows],
            [row.macs for row in rows],
            [row.num_params for row in rows],
        )

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the rows as plain dictionaries; `pandas.DataFrame` takes them."""
        return [dataclasses.asdict(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Returns totals and rows as a plain dictionary."""
        totals = (
            *("name", "macs", "macs_in_bounds", "num_params", "param_bits"),
            *("activation_bits", "storage_bits", "peak_memory_bytes"),
            "arithmetic_intensity",
        )
        described = {key: getattr(self, key) for key in totals}
        return {**described, "rows": self.to_dicts()}

    def to_json(self) -> str:
        """Returns totals and rows as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def to_csv(self) -> str:
        """Returns the rows as CSV, with a heading."""
        text = io.StringIO()
        fields = [field.name for field in dataclasses.fields(Row)]
        writer = csv.DictWriter(text, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.to_dicts())
        return text.getvalue()

    def to_markdown(self) -> str:
        """Returns the rows and a line of totals as a Markdown table."""
        lines = [_COLUMNS, ["---", "---", *["---:"] * 5]]
        lines += [_cells(row) for row in self.rows] + [self._total()]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def to_pandas(self) -> Any:
        """Returns the rows as a `pandas.DataFrame`.

        Raises:
          ImportError: if pandas is not installed.
        """
        import pandas  # pyright: ignore[reportMissingImports]

        return pandas.DataFrame(self.to_dicts())

    def _total(self) -> tuple[str, ...]:
        read, written = (
            sum(getattr(row, field) for row in self.rows)
            for field in ("bytes_read", "bytes_written")
        )
        counts = (self.num_params, self.macs, self.macs_in_bounds)
        return (
            *("total", ""),
            *map(short, counts),
            *(f"{short(size)}B" for size in (read, written)),
        )

    def __rich__(self) -> Any:
        import rich.table

        table = rich.table.Table(title=self.name)
        for i, heading in enumerate(_COLUMNS):
            table.add_column(heading, justify="left" if i < 2 else "right")
        for row in self.rows:
            table.add_row(*_cells(row))
        table.add_section()
        table.add_row(*self._total())
        table.caption = (
            f"peak memory {short(self.peak_memory_bytes)}B; "
            f"{self.arithmetic_intensity:.1f} MACs per byte"
        )
        return table

    def __str__(self) -> str:
        return as_text(self)


def stage_of(path: str) -> str:
    """Returns the stage that a module is in, or its outermost module."""
    outermost = path.partition("/")[0]
    numbered = re.match(r"stage\d+", outermost)
    return numbered[0] if numbered else outermost


def plot_models(path: Path, reports: Sequence[CostReport]) -> None:
    """Draws models by parameters and MACs as a PNG file; areas are activations.

    Args:
      path: the file to write.
      reports: of models, at least one; those whose names begin with the same letters
        have one colour.
    """
    from cnnjax import plots

    models = [
        plots.Bubble(
            report.name,
            report.num_params,
            report.macs,
            report.activation_bits / 8,
            re.split(r"[^A-Za-z]", report.name)[0],
        )
        for report in reports
    ]
    plots.bubbles(path, models, size="bytes of activations")


def make_rows(
    walk: Walk,
    params: Mapping[str, int],
    group: Callable[[str], str] = lambda path: path,
) -> list[Row]:
    """Sums equations up by layer.

    Args:
      walk: of the whole function.
      params: number of parameters by path of the module.
      group: from a module's path to its row's.
    """
    layers: dict[str, list[Equation]] = {}
    producers, consumers = {}, Counter()
    for equation in walk.equations:
        place = group(equation.path)
        layers.setdefault(place, []).append(equation)
        for value in equation.outputs:
            producers[value] = place
    for equation in walk.equations:
        place = group(equation.path)
        for value in set(equation.inputs):
            if producers.get(value, place) != place:
                consumers[value] += 1
    leaving = {value for value, n in consumers.items() if n} | set(walk.outputs)

    counts = Counter()
    for path, count in params.items():
        counts[_nearest(group(path), layers)] += count
    rows = []
    for place, own in layers.items():
        read, written = {}, {}
        for equation in own:
            for value in equation.inputs:
                if producers.get(value) != place and value.shape != ():
                    read[value] = max(read.get(value, 0), equation.times)
            for value in equation.outputs:
                if value in leaving:
                    written[value] = equation.times
        operations = Counter()
        for equation in own:
            if equation.operations:
                operations[equation.kind] += equation.times * equation.operations
        last = [*written][-1] if written else own[-1].outputs[0]
        products = [e.inputs[0].dtype for e in own if e.kind == "product"]
        rows.append(
            Row(
                path=place,
                macs=sum(e.times * e.macs.published for e in own),
                macs_in_bounds=sum(e.times * e.macs.in_bounds for e in own),
                interpolation_macs=sum(e.times * e.interpolation_macs for e in own),
                operations=dict(operations),
                num_params=counts.pop(place, 0),
                bytes_read=sum(n * value.num_bytes for value, n in read.items()),
                bytes_written=sum(n * value.num_bytes for value, n in written.items()),
                output_shape=last.shape,
                dtype=str(last.dtype),
                product_dtype=str(products[0]) if products else "",
            )
        )
    return rows


def _nearest(path: str, layers: Container[str]) -> str:
    """Returns the layer that parameters of a path belong to: that or one around it."""
    while path and path not in layers:
        path = path.rpartition("/")[0]
    return path


def _cells(row: Row) -> tuple[str, ...]:
    shape = "x".join(map(str, row.output_shape))
    counts = (row.num_params, row.macs, row.macs_in_bounds)
    sizes = (row.bytes_read, row.bytes_written)
    return (
        row.path or "(outside of modules)",
        shape,
        *map(short, counts),
        *(f"{short(size)}B" for size in sizes),
    )
