"""Write the report of an evaluation: one page that needs no network."""

import base64
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_cams.images import upsample
from captum_cams.statistics.seeds import mean_over_seeds
from lightning_callbacks.evaluation.fingerprints import digest
from lightning_callbacks.evaluation.journal import settings_in
from lightning_callbacks.evaluation.lines import replace
from lightning_callbacks.evaluation.pictures import read_pictures
from lightning_callbacks.evaluation.report_rows import ReportRows, read_rows, read_table
from lightning_callbacks.evaluation.report_words import disagreement, metrics_of, ranks_of, words_of
from lightning_callbacks.pages.page import render

_FILES = {
    "table.csv": ("text/csv", "the means with their intervals"),
    "table.json": ("application/json", "the same with the settings and the mean curves"),
    "rows.csv": ("text/csv", "the values of each image"),
}
_LARGEST = 2**21  # bytes of a file that the page holds


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into the folder of a finished evaluation, from the files that are there.

    The page asks nothing of a network, and can be sent as one file. It has the table with intervals and plain words,
    critical differences, curves, the photographs and maps of up to 100 images, the settings, and the data.

    Args:
        folder: the ``out`` of :func:`evaluate` or of :func:`merge_tables`.

    Returns:
        The file.

    Raises:
        CAMError: the folder has no finished evaluation.

    Example::

        data = torch.utils.data.TensorDataset(images, labels)
        lightning_callbacks.evaluate(model, data, "gradcam", metrics="complexity", out="measured")
        print(lightning_callbacks.write_report("measured"))
    """
    folder = Path(folder)
    table = read_table(folder)
    methods, metrics = [*table["table"]], [*table["metrics"]]
    rows = read_rows(folder, methods, metrics)
    photographs, images = _images(folder, table["settings"], rows)
    data = {
        "methods": methods,
        "metrics": metrics_of(table),
        "cells": table["table"],
        "cost": table["cost"],
        "words": words_of(table, rows),
        "ranks": ranks_of(table, rows),
        "curves": dict(zip(methods, table["curves"], strict=False)) if table["curves"] else {},
        "photographs": photographs,
        "images": images,
        "regression": table["settings"].get("protocol", {}).get("task") == "regression",
    }
    count = len({image for image, _ in rows.pairs})
    about = {"images": count, "pairs": len(rows.pairs), "kept": len(photographs), "skipped": len(table["skipped"])}
    texts = {"about": about, "files": _downloads(folder), "settings": _flat(table["settings"]), "methods": methods}
    file = folder / "report.html"
    replace(file, render("report.html", data, title="Evaluation of explanations", **texts))
    return file


def write_report_or_warn(folder: Path) -> None:
    """Write the report at the end of an evaluation, which must not fail because of it."""
    try:
        write_report(folder)
    except Exception as error:  # the numbers are worth more than their page
        warnings.warn(
            f"report.html was not written ({type(error).__name__}: {error}); try captum-cams report {folder}",
            stacklevel=2,
        )


def _images(
    folder: Path, settings: Mapping[str, Any], rows: ReportRows
) -> tuple[dict[int, dict[str, str]], list[dict[str, Any]]]:
    """The photographs of the kept images, and the kept pairs of image and class with their values."""
    place = {pair: number for number, pair in enumerate(rows.pairs)}
    values = {name: mean_over_seeds(one) if one.ndim == 3 else one for name, one in rows.values.items()}
    photographs, found = dict[int, dict[str, str]](), list[dict[str, Any]]()
    for image in read_pictures(folder, digest(settings_in(folder) or settings)):
        of_class, kinds = image.pop("rows"), ("photograph", "deleted", "inserted_into")
        own = {kind: image.pop(kind) for kind in kinds if kind in image}
        for index, methods in of_class.items():
            pair = image["image"], int(index)
            if pair not in place:
                continue
            one = image | {"class": pair[1], "maps": {name: both["map"] for name, both in methods.items()}}
            one["curves"] = {name: both["curves"] for name, both in methods.items() if both["curves"]}
            one["values"] = {name: column[place[pair]].tolist() for name, column in values.items()}
            one["disagreement"] = disagreement([_decoded(map_) for map_ in one["maps"].values()])
            known = image["labels"] is not None and image["predicted"] is not None
            one["right"] = image["predicted"] in image["labels"] if known else None
            photographs[pair[0]] = own
            found.append(one)
    return photographs, found


def _decoded(small: Mapping[str, Any]) -> Tensor:
    """A small map as 32×32 values."""
    plain = np.frombuffer(base64.b64decode(small["bytes"]), np.uint8).reshape(small["height"], small["width"])
    return upsample(torch.from_numpy(plain.copy()).float()[None, None], (32, 32))[0, 0]


def _downloads(folder: Path) -> list[dict[str, Any]]:
    """The files that the page holds as addresses; for a file that is too large, only its name."""
    found = []
    for name, (kind, about) in _FILES.items():
        content = (folder / name).read_bytes()
        small = len(content) <= _LARGEST
        address = f"data:{kind};base64,{base64.b64encode(content).decode()}" if small else None
        found.append({"name": name, "about": about, "address": address, "kilobytes": -(-len(content) // 1024)})
    return found


def _flat(settings: Any, path: str = "") -> list[tuple[str, str]]:
    """The settings as pairs of dotted name and text."""
    if isinstance(settings, Mapping) and settings:
        return [pair for key, item in settings.items() for pair in _flat(item, f"{path}.{key}".strip("."))]
    return [(path, str(settings))]
