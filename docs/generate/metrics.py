"""Writes one page for each metric of the catalogue, and the page that lists them."""

import ast
import inspect
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
    same = [entry.name] if inspect.isfunction(getattr(metrics, entry.name, None)) else []
    functions, others = list(dict.fromkeys([*same, *_functions(entry.function)])), _others(entry)
    parts = [
        title(_spelled(entry.name)),
        docstrings.first_sentence(entry.function) + "\n\n",
        docstrings.text(entry.function) + "\n\n",
        table([], _facts(entry), "26 74", "facts"),
        title("How it is computed", "-"),
    ]
    for name in functions:
        function = getattr(metrics, name)
        said = "\n\n".join(part for part in (docstrings.first_sentence(function), docstrings.text(function)) if part)
        parts.append(f":func:`captum_cams.metrics.{name}`\n\n   " + said.replace("\n", "\n   ") + "\n\n")
        if returned := docstrings.section(function, "Returns"):
            parts.append("   Returns: " + returned.replace("\n", "\n   ") + "\n\n")
    if others:
        parts.append(f"From {', '.join(f':doc:`{one}`' for one in others)}.\n\n")
    return "".join(parts)


def _facts(entry: MetricEntry) -> list[list[str]]:
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
    rows += [["As torchmetrics class", f":class:`captum_cams.metrics.{name}`"] for name in _shell(entry)]
    return rows


def _functions(function: Callable[..., Any]) -> Iterator[str]:
    """The public functions that compute a metric: those of ``functional`` in its code, and in that of its helpers."""
    module, others = sys.modules[function.__module__], [entry.function for entry in METRICS.values()]
    for node in _code(function):
        if isinstance(node, ast.Attribute) and node.attr in metrics.__all__:
            yield node.attr
        elif isinstance(node, ast.Name):
            found = getattr(module, node.id, None)
            if inspect.isfunction(found) and found.__module__ == function.__module__ and found not in others:
                yield from _functions(found)


def _code(function: Callable[..., Any]) -> list[ast.AST]:
    """The code of a function, without its decorators."""
    (definition,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(definition, ast.FunctionDef)
    return [node for line in definition.body for node in ast.walk(line)]


def _others(entry: MetricEntry) -> list[str]:
    """The other metrics that a metric reads."""
    named = [node.id for node in _code(entry.function) if isinstance(node, ast.Name)]
    return [name for name in METRICS if name != entry.name and name in named]


def _shell(entry: MetricEntry) -> list[str]:
    """The torchmetrics class whose name is that of the metric, or begins with it, or is its beginning."""
    name = entry.name.replace("_", "")
    shells = [one for one in metrics.__all__ if hasattr(getattr(metrics, one), "update")]
    return [one for one in shells if one.lower().startswith(name) or name.startswith(one.lower())][:1]


def _spelled(name: str) -> str:
    """The name of a metric as a title."""
    spelled = {"auc": "AUC", "iou": "IoU", "adcc": "ADCC", "arcc": "ARCC", "road": "ROAD", "k": "k"}
    words = [spelled.get(word, word) for word in name.split("_")]
    return words[0][0].upper() + " ".join(words)[1:]


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
