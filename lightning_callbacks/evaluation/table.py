"""The result of an evaluation: per-image rows, and the table that is made of them."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from captum_cams import visual
from captum_cams.metrics.catalogue import HIGHER_IS_BETTER, OVERLAPS, PERCENT
from captum_cams.metrics.functional.localisation import LEVELS


@dataclass(frozen=True)
class Cell:
    """One metric of one method: mean, standard error of the mean, number of images (pairs of image and class).

    ``level`` is the threshold that was best over all images, for the metrics that choose one.
    """

    mean: float
    standard_error: float
    n: int
    level: float | None = None


@dataclass(frozen=True)
class Table:
    """What :func:`evaluate` returns; ``print`` gives it as Markdown.

    Args:
        methods: their names, in the order asked for.
        metrics: their names.
        places: M×3 integers: index of the image in the data set, explained class, number of the method.
        values: column → M or M×20, NaN where it is not defined; "seconds" and "forward_seconds" per image among them.
        curves: mean deletion and insertion curve per method, methods×2×(steps + 1), or None.
        skipped: indices of the images that could not be read and were left out.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    places: Tensor
    values: dict[str, Tensor]
    curves: Tensor | None
    skipped: tuple[int, ...] = ()

    def __getitem__(self, key: tuple[str, str]) -> Cell:
        """``table["gradcam", "insertion_auc"]``."""
        method, metric = key
        of_method = self.places[:, 2] == self.methods.index(method)
        if metric not in OVERLAPS:
            return _cell(self.values[metric][of_method])
        overlaps = self.values[f"overlap_{OVERLAPS[metric]}"][of_method].double()
        each = overlaps if metric == "iou" else (overlaps < 0.5).double().where(overlaps.isfinite(), torch.nan)
        means = each.nanmean(0)
        best = int(means.argmax() if HIGHER_IS_BETTER[metric] else means.argmin())
        return _cell(each[:, best], LEVELS[best])

    def seconds(self, method: str) -> float:
        """Mean seconds an image for the map alone."""
        return self[method, "seconds"].mean

    def forward_passes(self, method: str) -> float:
        """The same in plain forward passes of the same batches."""
        return self.seconds(method) / self[method, "forward_seconds"].mean

    def __str__(self) -> str:
        arrows = [f"{metric} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}" for metric in self.metrics]
        lines = [["method", *arrows, "n", "s/image", "forward passes"], ["---"] * (len(arrows) + 4)]
        for method in self.methods:
            total = int((self.places[:, 2] == self.methods.index(method)).sum())
            shown = [_shown(self[method, one], total, 1 if one in PERCENT else 3) for one in self.metrics]
            cost = f"{self.seconds(method):.3g}", f"{self.forward_passes(method):.3g}"
            lines.append([method, *shown, str(total), *cost])
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        if not self.skipped:
            return table
        some = ", ".join(map(str, self.skipped[:10])) + ", …" * (len(self.skipped) > 10)
        return f"{table}\n\nLeft out because they could not be read: {len(self.skipped)} images ({some})."

    def write(self, folder: Path, settings: dict[str, Any]) -> None:
        """table.md, table.csv, table.json with the settings, rows.csv and curves.png."""
        (folder / "table.md").write_text(f"{self}\n")
        cells = {method: {metric: vars(self[method, metric]) for metric in self.metrics} for method in self.methods}
        with open(folder / "table.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["method", "metric", "mean", "standard_error", "n", "level"])
            writer.writerows(
                [method, metric, *cell.values()] for method, of in cells.items() for metric, cell in of.items()
            )
        cost = {
            method: {"seconds_per_image": self.seconds(method), "forward_passes": self.forward_passes(method)}
            for method in self.methods
        }
        curves = None if self.curves is None else self.curves.tolist()
        whole = {"settings": settings, "table": cells, "cost": cost, "curves": curves, "skipped": self.skipped}
        (folder / "table.json").write_text(json.dumps(_without_nan(whole), indent=2, allow_nan=False) + "\n")
        with open(folder / "rows.csv", "w", newline="") as file:
            csv.writer(file).writerows(self._rows())
        if self.curves is not None:
            named = {method: (one[0], one[1]) for method, one in zip(self.methods, self.curves, strict=True)}
            quantity = "value" if settings.get("protocol", {}).get("task") == "regression" else "probability"
            Image.fromarray(visual.curves(named, quantity)).save(folder / "curves.png")

    def _rows(self) -> list[Sequence[Any]]:
        chosen: dict[str, Tensor] = {}
        for metric in self.metrics:
            if metric in OVERLAPS:
                # Each method has a best level of its own.
                overlaps = self.values[f"overlap_{OVERLAPS[metric]}"]
                levels = [LEVELS.index(self[method, metric].level or 0.0) for method in self.methods]
                at = overlaps[torch.arange(len(overlaps)), torch.tensor(levels)[self.places[:, 2]]]
                chosen[f"{metric}_overlap" if metric != "iou" else metric] = at
            else:
                chosen[metric] = self.values[metric]
        names = ["image", "class", "method", *chosen, "seconds"]
        columns = zip(*(column.tolist() for column in (*chosen.values(), self.values["seconds"])), strict=True)
        return [names] + [
            [image, index, self.methods[method], *("" if math.isnan(value) else value for value in row)]
            for (image, index, method), row in zip(self.places.tolist(), columns, strict=True)
        ]


def _cell(values: Tensor, level: float | None = None) -> Cell:
    values = values[values.isfinite()].double()
    n = len(values)
    error = float(values.std() / n**0.5) if n > 1 else math.nan
    return Cell(float(values.mean()) if n else math.nan, error, n, level)


def _shown(cell: Cell, total: int, digits: int) -> str:
    if cell.n == 0:
        return ""
    some = f" (n = {cell.n})" if cell.n != total else ""
    error = "" if math.isnan(cell.standard_error) else f" ± {cell.standard_error:.{digits}f}"
    return f"{cell.mean:.{digits}f}{error}{some}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
