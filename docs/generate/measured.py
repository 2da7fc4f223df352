"""What the benchmark of drawn scenes measured for each method, read from ``docs/benchmark.md``."""

import re
from pathlib import Path
from typing import NamedTuple


class Measured(NamedTuple):
    """One row of the benchmark, with the titles of its columns, and the kinds of scenes from worst to best."""

    rank: int
    methods: int
    cells: dict[str, str]
    kinds: list[tuple[str, float]]


def measured(page: Path) -> dict[str, Measured]:
    """Read the table of the methods, and their average precision for each kind of scene.

    Args:
        page: the page that ``captum-cams benchmark`` wrote.
    """
    text = page.read_text()
    kinds = _table(text, "Average precision of each kind of scene")
    # What explains no network of the benchmark has no grades, and so no rank.
    methods = {name: cells for name, cells in _table(text, "Methods").items() if name in kinds}
    return {
        name: Measured(
            rank,
            len(methods),
            cells,
            sorted(((kind, _number(cell)) for kind, cell in kinds[name].items()), key=lambda pair: pair[1]),
        )
        for rank, (name, cells) in enumerate(methods.items(), 1)
    }


def _table(text: str, heading: str) -> dict[str, dict[str, str]]:
    """The table under a heading: name of the row → title of the column → cell."""
    part = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]
    header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if "|" in line)
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def _number(cell: str) -> float:
    return float(re.split(r"[ \[]", cell)[0].replace("−", "-"))
