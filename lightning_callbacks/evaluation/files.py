"""Write the files of an evaluation: the table, the rows, figures of curves and ranks, and perhaps every curve."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from captum_cams import statistics, visual
from captum_cams.metrics.catalogue import METRICS
from lightning_callbacks.evaluation.records import Ranking
from lightning_callbacks.evaluation.seeds import NO_SEED
from lightning_callbacks.evaluation.table import Table
from lightning_callbacks.pages.page import plain

_PART = 4096


def write_files(table: Table, folder: Path, settings: dict[str, Any]) -> None:
    """Write all files of an evaluation into a folder.

    Args:
        table: the result of the evaluation.
        folder: an existing folder.
        settings: the settings of the evaluation, for table.json.
    """
    said = "Means ± standard errors over n pairs of image and class. With 95 % bootstrap intervals over the images:"
    (folder / "table.md").write_text(f"{table}\n\n{said}\n\n{table.with_intervals()}\n")
    (folder / "table.csv").write_text(table.to_csv())
    cells: dict[str, dict[str, Any]] = {method: {} for method in table.methods}
    for cell in table.cells():
        cells[cell.pop("method")][cell.pop("metric")] = cell
    cost = {
        method: {"seconds_per_image": table.seconds(method), "forward_passes": table.forward_passes(method)}
        for method in table.methods
    }
    curves = [table.curves[method].tolist() for method in table.methods] if table.curves else None
    entries = {name: METRICS[name] for name in table.metrics}
    metrics = {name: {"higher_is_better": one.higher_is_better, "unit": one.unit} for name, one in entries.items()}
    whole = {"settings": settings, "metrics": metrics, "table": cells, "cost": cost, "curves": curves}
    (folder / "table.json").write_text(
        json.dumps(plain(whole | {"skipped": table.skipped}), indent=2, allow_nan=False) + "\n"
    )
    columns = _columns(table)
    with open(folder / "rows.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for start in range(0, len(columns["image"]), _PART):  # all rows as text would take much memory
            part = [_texts(name, column[start : start + _PART], table) for name, column in columns.items()]
            writer.writerows(zip(*part, strict=True))
    if "curves" in table.columns:
        np.save(folder / "curves.npy", table.columns["curves"].numpy())
    if table.curves:
        pairs = {method: (both[0], both[1]) for method, both in table.curves.items()}
        quantity = "value" if settings.get("protocol", {}).get("task") == "regression" else "probability"
        Image.fromarray(visual.curves(pairs, quantity)).save(folder / "curves.png")
    if rankings := _rankings(table):
        places = {one.metric: {place.method: place.mean_rank for place in one} for one in rankings}
        picture = statistics.draw_ranks(places, {one.metric: one.images for one in rankings})
        Image.fromarray(picture).save(folder / "ranks.png")


def _rankings(table: Table) -> list[Ranking]:
    """The rankings of at least two methods on at least five images; with fewer, hardly any difference is critical."""
    if len(table.methods) < 2:
        return []
    return [table.ranks(metric) for metric in table.metrics if table.ranked_images(metric) >= 5]


def _columns(table: Table) -> dict[str, Tensor]:
    """The columns of rows.csv. A metric that chooses a level has its value at the best level of the method."""
    methods = table.columns["method"]
    found = {name: table.columns[name] for name in ("image", "class", "method")}
    if table.seeds:
        found["seed"] = table.columns["seed"]
    for name in (*table.metrics, "seconds"):
        column = table.columns[name]
        if name in table.metrics:
            column = column.new_empty(len(column))
            for number, method in enumerate(table.methods):
                column[methods == number] = table.values(method, name)
        found[name] = column
    return found


def _texts(name: str, column: Tensor, table: Table) -> list[Any]:
    """Some values of a column of rows.csv; a value that is not defined is empty."""
    if name == "method":
        return [table.methods[number] for number in column.tolist()]
    none = NO_SEED if name == "seed" else None
    return ["" if value != value or value == none else value for value in column.tolist()]
