"""Compares what networks cost with what their papers say.

    python experiments/cost_tables.py

Parameters, multiply-accumulates (MACs) and sizes, counted from shapes alone, beside the
published figures. A figure that differs by more than 1 %, after rounding to the digits
that were published, is marked, and a line below says why.
"""

import dataclasses
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import rich.console
import rich.table

import cnnjax
from cnnjax import cli


MEGA, GIGA, MEBIBYTES = 1e6, 1e9, 2**20 / 4  # Numbers in float32.


class Figure(NamedTuple):
    """One published figure.

    Attributes:
      model: a name that `cnnjax.create` knows.
      published: with the digits of the paper.
      image_size: rows and columns; None is the model's own.
    """

    model: str
    published: str
    image_size: int | None = None


class Table(NamedTuple):
    """Figures of one kind.

    Attributes:
      title: what they are and where they stand.
      quantity: "num_params" or "macs" of a report.
      unit: what the figures are multiples of.
      figures: the table's rows.
    """

    title: str
    quantity: str
    unit: float
    figures: Sequence[Figure]


RESNET_CIFAR = {
    20: "0.27",
    32: "0.46",
    44: "0.66",
    56: "0.85",
    110: "1.7",
    1202: "19.4",
}
WIDE_RESNET = {
    "40_1": "0.6",
    "40_2": "2.2",
    "40_4": "8.9",
    "40_8": "35.7",
    "28_10": "36.5",
    "28_12": "52.5",
    "22_8": "17.2",
    "22_10": "26.8",
    "16_8": "11.0",
    "16_10": "17.1",
}
SHIFTRESNET = {
    20: ("0.03", "0.10", "0.19", "0.28"),
    56: ("0.10", "0.29", "0.58", "0.87"),
    110: ("0.20", "0.59", "1.18", "1.76"),
}

# Model, image size, M parameters, G MACs: Liu et al., 2022, table 1, and its sources.
CONVNEXT = [
    ("regnet_y_16gf", 224, "84", "16.0"),
    ("efficientnet_b7", 600, "66", "37.0"),
    ("efficientnet_v2_l", 480, "120", "53.0"),
    ("deit_small", 224, "22", "4.6"),
    ("deit_base", 224, "87", "17.6"),
    ("swin_t", 224, "28", "4.5"),
    ("convnext_tiny", 224, "29", "4.5"),
    ("swin_s", 224, "50", "8.7"),
    ("convnext_small", 224, "50", "8.7"),
    ("swin_b", 224, "88", "15.4"),
    ("convnext_base", 224, "89", "15.4"),
    ("swin_b_384", 384, "88", "47.1"),
    ("convnext_base", 384, "89", "45.0"),
    ("convnext_large", 224, "198", "34.4"),
    ("convnext_large", 384, "198", "101.0"),
]
# What is known about figures that come out differently.
CUT = "the paper's figure is what cutting off the digits leaves"
TORCHVISION = "torchvision publishes the counted figure for this network"
WHY = {
    ("num_params", "resnet32_cifar"): CUT,
    ("num_params", "resnet56_cifar"): CUT,
    ("num_params", "shiftnet_a"): CUT,
    ("num_params", "shiftnet_b"): CUT,
    ("num_params", "alexnet"): "one tower, as in torchvision; 244 MB of 10^6 bytes",
    ("num_params", "resnet50"): "quoted as a round number",
    ("macs", "shufflenet_v1_g8"): "pytorchcv's network has the counted figure too; the "
    "paper's is 1.6 M higher and does not say what it includes",
    ("macs", "shufflenet_v1_g4_x0_5"): "not known; built by the rules that give the "
    "published figures of groups 3",
    ("macs", "efficientnet_b7"): f"the paper says 37 G; {TORCHVISION}",
    ("macs", "efficientnet_v2_l"): f"not known; {TORCHVISION}",
}

TABLES = [
    Table(
        "ResNets for CIFAR-10, M parameters (He et al., 2015, table 6)",
        "num_params",
        MEGA,
        [Figure(f"resnet{depth}_cifar", m) for depth, m in RESNET_CIFAR.items()],
    ),
    Table(
        "The same table's other networks, M parameters",
        "num_params",
        MEGA,
        [
            Figure("fitnet19_cifar", "2.5"),
            Figure("highway19_cifar", "2.3"),
            Figure("highway32_cifar", "1.25"),
        ],
    ),
    Table(
        "Wide ResNets, M parameters (Zagoruyko and Komodakis, 2016, table 4)",
        "num_params",
        MEGA,
        [Figure(f"wrn_{name}_cifar", m) for name, m in WIDE_RESNET.items()],
    ),
    Table(
        "ShiftResNets by depth and expansion, M parameters (Wu et al., 2017)",
        "num_params",
        MEGA,
        [
            Figure(f"shiftresnet{depth}_e{expansion}_cifar", published)
            for depth, row in SHIFTRESNET.items()
            for expansion, published in zip((1, 3, 6, 9), row, strict=True)
        ],
    ),
    Table(
        "ShiftNets, M parameters (Wu et al., 2017)",
        "num_params",
        MEGA,
        [
            Figure("shiftnet_a", "4.1"),
            Figure("shiftnet_b", "1.1"),
            Figure("shiftnet_c", "0.78"),
        ],
    ),
    Table(
        "ShiftNets, G MACs (Wu et al., 2017)",
        "macs",
        GIGA,
        [Figure("shiftnet_a", "1.4"), Figure("shiftnet_b", "0.371")],
    ),
    Table(
        "ShuffleNets and MobileNets, M MACs (Zhang et al., 2017, table 5)",
        "macs",
        MEGA,
        [
            Figure("mobilenet_v1", "569"),
            Figure("shufflenet_v1_g3_x2_0", "524"),
            Figure("shufflenet_v1_g3_x2_0_se", "527"),
            Figure("mobilenet_v1_0_75", "325"),
            Figure("shufflenet_v1_g3_x1_5", "292"),
            Figure("mobilenet_v1_0_5", "149"),
            Figure("shufflenet_v1_g8", "140"),
            Figure("mobilenet_v1_0_25", "41"),
            Figure("shufflenet_v1_g4_x0_5", "38"),
            Figure("shufflenet_v1_g3_x0_5_shallow", "40"),
        ],
    ),
    Table(
        "AlexNet and SqueezeNet, MB of 2^20 bytes (Iandola et al., 2016, table 2)",
        "num_params",
        MEBIBYTES,
        [Figure("alexnet", "240"), Figure("squeezenet1_0", "4.8")],
    ),
    Table(
        "Sizes that lectures quote, MB of 10^6 bytes",
        "num_params",
        MEGA / 4,
        [Figure("resnet50", "100"), Figure("deit_base", "346")],
    ),
    Table(
        "ConvNeXt and its peers, M parameters (Liu et al., 2022)",
        "num_params",
        MEGA,
        [Figure(name, params, size) for name, size, params, _ in CONVNEXT],
    ),
    Table(
        "ConvNeXt and its peers, G MACs (Liu et al., 2022)",
        "macs",
        GIGA,
        [Figure(name, macs, size) for name, size, _, macs in CONVNEXT],
    ),
]


@dataclasses.dataclass(frozen=True)
class Config:
    """Options of the comparison."""

    preset: str = "default"
    """Where the other options start from: `default`, or `smoke` for a quick look."""

    tables: int = len(TABLES)
    """How many tables, from the first."""


PRESETS = {"default": Config(), "smoke": Config("smoke", 1)}


class Compared(NamedTuple):
    """A published figure and ours.

    Attributes:
      ours: in the table's unit, not rounded.
      difference: ours after rounding as published, relative to the published one.
    """

    figure: Figure
    ours: float
    difference: float


def compare(table: Table) -> list[Compared]:
    """Counts what a table's networks cost."""
    compared = []
    for figure in table.figures:
        model = cnnjax.create(figure.model)
        if hasattr(model, "scan"):  # Counts the same, and like blocks are traced once.
            model = model.clone(scan=True)
        side = figure.image_size or model.image_size
        report = cnnjax.cost.analyze(model, (1, side, side, 3))
        ours = getattr(report, table.quantity) / table.unit
        published = Decimal(figure.published)
        rounded = Decimal(ours).quantize(published)
        compared.append(Compared(figure, ours, float(rounded / published - 1)))
    return compared


def main(config: Config) -> None:
    """Prints the tables."""
    console = rich.console.Console()
    for table in TABLES[: config.tables]:
        shown = rich.table.Table("network", title=table.title, title_justify="left")
        for heading in ("published", "counted", "difference"):
            shown.add_column(heading, justify="right")
        reasons = []
        for figure, ours, difference in compare(table):
            differs = abs(difference) > 0.01
            size = f" at {figure.image_size}" if figure.image_size else ""
            cells = (figure.published, f"{ours:.4g}", f"{difference:+.1%}")
            shown.add_row(figure.model + size, *cells, style="bold" if differs else "")
            if differs:
                reasons.append(f"{figure.model}: {WHY[table.quantity, figure.model]}")
        console.print(shown)
        for reason in reasons:
            console.print(f"  {reason}")


if __name__ == "__main__":
    cli.run(main, PRESETS, __doc__)
