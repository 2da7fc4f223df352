"""Writes one page for each metric of the catalogue, and the page that lists them."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from captum_cams import metrics
from captum_cams.metrics import METRICS, MetricEntry
from generate import docstrings
from generate.pages import table, title, write_pages

_NEEDS = {
    "labels": "the classes of the image",
    "regions": "boxes or masks of the class",
    "probabilities": "probabilities, so not a regression",
    "curves": "deletion and insertion curves",
}


def write(folder: Path) -> None:
    """Write ``index.rst`` and a page for each metric into a folder."""
    pages = {f"{name}.rst": _page(entry) for name, entry in METRICS.items()}
    write_pages(folder, pages | {"index.rst": _index()})


def _page(entry: MetricEntry) -> str:
    """The page of one metric."""
    functions = list(dict.fromkeys(_functions(entry.function)))
    parts = [
        title(entry.name.replace("_", " ").capitalize()),
        docstrings.first_sentence(entry.function) + "\n\n",
        docstrings.text(entry.function) + "\n\n",
        table([], _facts(entry, functions), "26 74", "facts"),
        title("How it is computed", "-"),
    ]
    for name in functions:
        function = getattr(metrics, name)
        said = "\n\n".join(part for part in (docstrings.first_sentence(function), docstrings.text(function)) if part)
        parts.append(f":func:`captum_cams.metrics.{name}`\n\n   " + said.replace("\n", "\n   ") + "\n\n")
        if returned := docstrings.section(function, "Returns"):
            parts.append("   Returns: " + returned.replace("\n", "\n   ") + "\n\n")
    if not functions:
        parts.append(f"From {', '.join(f':doc:`{one}`' for one in _others(entry))}.\n\n")
    return "".join(parts)


def _facts(entry: MetricEntry, functions: list[str]) -> list[list[str]]:
    """The rows of the table of facts."""
    rows = [
        ["Better", "higher" if entry.higher_is_better else "lower"],
        ["Unit", "percent" if entry.unit else "none"],
        ["Needs", "; ".join(_NEEDS[need] for need in sorted(entry.needs)) or "image, map and network"],
        ["In a table", f'``evaluate(model, loader, methods, metrics=["{entry.name}"])``'],
    ]
    if entry.levels:
        levels = f"{entry.levels[0]:g}, {entry.levels[1]:g}, …, {entry.levels[-1]:g}"
        rows.append(["Thresholds", f"{levels}; the threshold that is best over all rows counts"])
    if entry.over_rows is not None:
        rows.append(["Compares", "the maps of several images of one class"])
    if shells := [name for name in metrics.__all__ if _reads(getattr(metrics, name), functions)]:
        rows.append(["As torchmetrics class", ", ".join(f":class:`captum_cams.metrics.{name}`" for name in shells)])
    return rows


def _functions(function: Callable[..., Any]) -> Iterator[str]:
    """The public functions that compute a metric, found in its source and in that of the functions it names."""
    source, module = inspect.getsource(function), sys.modules[function.__module__]
    metric_functions = [function, *(entry.function for entry in METRICS.values())]
    for name in re.findall(r"\b[a-z_]+\b", source):
        found = getattr(module, name, None)
        if f"functional.{name}(" in source or (name in metrics.__all__ and inspect.isfunction(found)):
            yield name
        elif inspect.isfunction(found) and found.__module__ == function.__module__ and found not in metric_functions:
            yield from _functions(found)


def _others(entry: MetricEntry) -> list[str]:
    """The other metrics that a metric reads."""
    source = inspect.getsource(entry.function)
    return [name for name in METRICS if name != entry.name and re.search(rf"\b{name}\b", source)]


def _reads(value: Any, functions: list[str]) -> bool:
    """Whether a torchmetrics class computes one of the functions."""
    if not inspect.isclass(value) or not hasattr(value, "update"):
        return False
    return any(re.search(rf"\b(functional\.)?{name}\(", inspect.getsource(value)) for name in functions)


def _index() -> str:
    """The list of all metrics, and the contents for the side bar."""
    rows = [
        [
            f":doc:`{name}`",
            docstrings.first_sentence(entry.function),
            "↑" if entry.higher_is_better else "↓",
            "; ".join(_NEEDS[need] for need in sorted(entry.needs)) or "–",
        ]
        for name, entry in METRICS.items()
    ]
    names = "\n".join(f"   {name}" for name in METRICS)
    return (
        title("Metrics")
        + f"All {len(METRICS)} metrics that ``evaluate``, the callback and the command line know by name. ↑: higher is "
        "better; ↓: lower is better. Each page says what the metric rewards, and how a map can have a good value "
        "without being a good explanation.\n\n"
        + table(["Metric", "What it measures", "", "Needs"], rows, "24 46 4 26", "methods")
        + f".. toctree::\n   :hidden:\n\n{names}\n"
    )
