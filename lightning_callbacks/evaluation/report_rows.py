"""Read the files of a finished evaluation for its report."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_cams.errors import CAMError


@dataclass(frozen=True)
class ReportRows:
    """The values of an evaluation, side by side.

    Args:
        pairs: the image and the class of each of R rows, in their order.
        values: metric → R×methods values, or R×methods×seeds, NaN where there is none.
    """

    pairs: list[tuple[int, int]]
    values: dict[str, Tensor]

    @property
    def images(self) -> Tensor:
        """The image of each row, R."""
        return torch.tensor([image for image, _ in self.pairs], dtype=torch.long)


def read_table(folder: Path) -> dict[str, Any]:
    """Read table.json.

    Raises:
        CAMError: the folder has no finished evaluation, or one of an older version.
    """
    file = folder / "table.json"
    if not file.exists():
        if not folder.is_dir():
            raise CAMError(f"{folder} must be the folder of an evaluation, but there is no such folder; check the path")
        begun = any(folder.glob("journal-*.jsonl"))
        why = "has one that is not finished" if begun else "has none"
        remedy = "run the same captum-cams evaluate again, which continues" if begun else "pass the out of evaluate"
        raise CAMError(f"{folder} must have a finished evaluation with a table.json, but {why}; {remedy}")
    try:
        found = json.loads(file.read_bytes())
        complete = all(key in found for key in ("settings", "metrics", "table", "cost", "curves", "skipped"))
    except (ValueError, TypeError):
        complete = False
    if not complete or not (folder / "rows.csv").exists():
        raise CAMError(
            f"{folder} must have a whole table.json and rows.csv of this version, got damaged, lacking or older files; "
            "evaluate again with the same out, which reads the journal and writes them"
        )
    return found


def read_rows(folder: Path, methods: Sequence[str], metrics: Sequence[str]) -> ReportRows:
    """Read rows.csv.

    Raises:
        CAMError: its columns or its methods are not those of table.json.
    """
    column = {name: number for number, name in enumerate(methods)}
    found: dict[tuple[int, int], list[tuple[int, str, list[float]]]] = {}
    with open(folder / "rows.csv", newline="") as file:
        try:
            for row in csv.DictReader(file):
                values = [float(row[metric] or math.nan) for metric in metrics]
                pair = int(row["image"]), int(row["class"])
                found.setdefault(pair, []).append((column[row["method"]], row.get("seed") or "", values))
        except (KeyError, TypeError, ValueError) as error:
            raise CAMError(
                f"{folder / 'rows.csv'} must have the methods and metrics of table.json, but {error!r} was met; "
                "evaluate again with the same out, which writes both files anew"
            ) from error
    seeds = sorted({seed for rows in found.values() for _, seed, _ in rows if seed}, key=int)
    place = {seed: number for number, seed in enumerate(seeds)}
    pairs = sorted(found)
    whole = torch.full((len(metrics), len(pairs), len(methods), max(1, len(seeds))), torch.nan, dtype=torch.float64)
    for number, pair in enumerate(pairs):
        for method, seed, values in found[pair]:
            # A method that ran once has its value for each seed.
            whole[:, number, method, place[seed] if seed else slice(None)] = torch.tensor(values).view(
                -1, *[1] * (not seed)
            )
    whole = whole.where(whole.isfinite(), torch.nan)
    return ReportRows(pairs, {name: one if seeds else one[..., 0] for name, one in zip(metrics, whole, strict=True)})
