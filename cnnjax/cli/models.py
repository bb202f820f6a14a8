"""`python -m cnnjax models`: what there is."""

import importlib.resources
import json
from typing import Annotated

import rich.box
import rich.console
import rich.table
import tyro

from cnnjax import errors, registry


def models(pattern: Annotated[str, tyro.conf.Positional] = "*") -> None:
    """Lists the variants with what they cost and where they were published.

    MACs are of one image of the size shown, every tap of every output.

    Args:
        pattern: names to list, e.g. "resnet*" (in quotes).
    """
    names = registry.list_models(pattern)
    if not names:
        raise errors.unknown("model", pattern, registry.list_models())
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("model", no_wrap=True)
    for heading in ("parameters", "MACs", "image", "paper"):
        table.add_column(heading, justify="right", no_wrap=True)
    known, papers = catalogue(), {}
    for name in names:
        row, paper = known[name], registry.paper(name)
        table.add_row(
            name,
            f"{row['num_params']:,}",
            f"{row['macs'] / 1e6:,.0f} M",
            str(row["image_size"]),
            str(papers.setdefault(paper, len(papers) + 1)),
        )
    console = rich.console.Console(highlight=False)
    console.print(table)
    for paper, number in papers.items():
        line = f"  {number:2}  {paper.authors}, {paper.year}: {paper.url}"
        console.print(line, soft_wrap=True)


def catalogue() -> dict[str, dict[str, int]]:
    """Returns `num_params`, `macs` and `image_size` of every variant.

    They stand in a file since to count them all takes minutes; see
    `experiments/catalogue.py`.
    """
    file = importlib.resources.files("cnnjax") / "catalogue.json"
    return json.loads(file.read_text())
