"""Writes one page for each method, and the page that lists them."""

from pathlib import Path
from typing import Any

import captum_cams as cc
from captum_cams.argument_names import options_of
from captum_cams.registry import lookup
from generate import docstrings, facts, pictures
from generate.measured import Measured, measured
from generate.pages import table, title, write_pages
from generate.peers import names_elsewhere
from generate.pictures import Shown

_BASES = {"fgcam": "fgcam(gradcam)"}
"""The names under which the benchmark has measured wrappers."""


def write(folder: Path) -> None:
    """Write ``index.rst`` and a page for each registered method into a folder, and draw their pictures."""
    grades = measured(folder.parent / "benchmark.md")
    elsewhere = names_elsewhere(folder.parent / "features.md")
    pages, groups = dict[str, str](), dict[str, list[list[str]]]()
    shown = pictures.draw_all(cc.names(), folder / "pictures")
    for name in cc.names():
        cls = lookup(name)
        grade = grades.get(_BASES.get(name, name))
        pages[f"{name}.rst"] = _page(name, cls, shown[name], grade, elsewhere.get(cls.__name__, {}))
        groups.setdefault(facts.group(cls), []).append(_row(name, cls, shown[name], grade))
    write_pages(folder, pages | {"index.rst": _index(groups), "gallery.rst": _gallery(shown)})


def _page(name: str, cls: Any, shown: Shown, grade: Measured | None, elsewhere: dict[str, str]) -> str:
    """The page of one method."""
    return "".join(
        (
            title(facts.paper_name(cls)),
            docstrings.first_sentence(cls) + "\n\n",
            _picture(name, shown),
            table([], _facts(name, cls, shown, elsewhere), "26 74", "facts"),
            title("On drawn scenes", "-") + _grade(grade, name),
            title("Hyperparameters", "-") + _hyperparameters(cls),
            title("The class", "-"),
            f".. autoclass:: captum_cams.{cls.__name__}\n\n",
            "It is called by :meth:`~captum_cams.CAMAttribution.attribute`, "
            ":meth:`~captum_cams.CAMAttribution.heatmap` and :meth:`~captum_cams.CAMAttribution.contributions`.\n",
        )
    )


def _picture(name: str, shown: Shown) -> str:
    if not shown.network:
        said = "There is no picture, because no network of the benchmark suits this method"
        return f".. note::\n\n   {said}: {shown.reason}.\n\n"
    classes = ", ".join(f"“{one}”" for one in pictures.asked())
    options = pictures.OPTIONS.get(name)
    said = f" Options: ``{', '.join(f'{key}={value!r}' for key, value in options.items())}``." if options else ""
    return (
        f".. figure:: pictures/{name}.png\n   :alt: Four drawn scenes, the pixels that decide, and the maps\n\n"
        f"   Four drawn scenes; the pixels that decide, by construction, about the classes {classes}; and the map for "
        f"these classes on the network ``{shown.network}``.{said}\n\n"
    )


def _facts(name: str, cls: Any, shown: Shown, elsewhere: dict[str, str]) -> list[list[str]]:
    """The rows of the table of facts."""
    written = f'``create("{name}", model)`` or ``{cls.__name__}(model)``'
    rows = [["Made by", written]]
    if cls.paper is not None:
        paper = cls.paper
        rows.append(["Paper", f"`{paper.title} <{paper.url}>`__. {paper}"])
    rows += [["Runs of the network for one image", f"at most {cls.cost}"], ["Needs", "; ".join(facts.needs(cls))]]
    if shown.network:
        height, width = shown.map
        rows.append(["Size of the map", f"{height}×{width} for the images of 32×32 pixels above{_as_fine(shown)}"])
        rows.append(["Map of another class", "the same map" if shown.every_class_alike else "another map"])
    rows += [
        ["Random numbers", "yes, from ``seed``" if "seed" in options_of(cls) else "no"],
        ["As a loss", "yes, with ``differentiable=True``" if cls.differentiable else "no"],
        ["Volumes and signals", "yes" if getattr(cls, "any_dimension", False) else "images only"],
        ["Base of FG-CAM", "yes" if getattr(cls, "per_channel", False) else "no"],
    ]
    if elsewhere:
        there = (f"``{called}`` in {library}" for library, called in elsewhere.items())
        rows.append(["In other libraries", ", ".join(there)])
    return rows


def _as_fine(shown: Shown) -> str:
    return {(8, 8): ", the size of the layer", (32, 32): ", the size of the image"}.get(shown.map, "")


def _grade(grade: Measured | None, name: str) -> str:
    """What the benchmark measured, and on which scenes the method is worst and best."""
    if grade is None:
        return (
            "The table of the :doc:`benchmark </benchmark>` has no row for this method. "
            f"``captum-cams benchmark --methods {_BASES.get(name, name)}`` measures it.\n\n"
        )
    said = ", ".join(f"{kind.replace('_', ' ')} ({value:.2f})" for kind, value in grade.kinds[:3])
    best = ", ".join(f"{kind.replace('_', ' ')} ({value:.2f})" for kind, value in grade.kinds[:-4:-1])
    cells = table([*grade.cells], [[*grade.cells.values()]], kind="wide")
    return (
        f"Rank {grade.rank} of {grade.methods} in the :doc:`benchmark </benchmark>`, by average precision. "
        "Higher is better, 1 is the best.\n\n"
        f"{cells}It finds the deciding pixels worst in scenes of the kinds {said}, and best in {best}.\n\n"
    )


def _hyperparameters(cls: type) -> str:
    rows = [
        [
            f"``{one.name}``",
            one.default,
            one.said + ("" if one.declared_by == cls.__name__ else f" (:class:`{one.declared_by}`)"),
        ]
        for one in facts.hyperparameters(cls)
    ]
    return table(["Name", "Default", "Meaning"], rows, "22 18 60", "wide")


def _row(name: str, cls: Any, shown: Shown, grade: Measured | None) -> list[str]:
    """The row of a method in the list of all methods."""
    fine = "×".join(map(str, shown.map)) if shown.network else "–"
    alike = ("no" if shown.every_class_alike else "yes") if shown.network else "–"
    precision = grade.cells["average_precision"].partition(" ")[0] if grade else "–"
    return [
        f":doc:`{facts.paper_name(cls)} <{name}>`",
        docstrings.first_sentence(cls),
        str(cls.cost),
        fine,
        alike,
        precision,
    ]


def _index(groups: dict[str, list[list[str]]]) -> str:
    """The list of all methods, in groups, and the contents for the side bar."""
    header = ["Method", "What it does", "Runs", "Map", "By class", "AP"]
    parts = [
        title("Methods"),
        f"All {len(cc.names())} methods and wrappers, each with a page of its own. “Runs” is how often the network "
        "runs for one image, at most: K is the number of channels of the layer, P the number of positions. “Map” is "
        "the size of the map for images of 32×32 pixels and a layer of 8×8. “By class” tells whether another class of "
        "the same image has another map. “AP” is the average precision in the :doc:`benchmark of drawn scenes "
        "</benchmark>`. “–” means that no network of the benchmark suits the method, or that it was not measured. "
        "The :doc:`gallery <gallery>` shows the maps of all of them at a glance.\n\n",
    ]
    for heading in facts.GROUPS:
        parts += [title(heading, "-"), table(header, groups.get(heading, []), "16 40 18 9 9 8", "methods")]
    names = "\n".join(f"   {name}" for name in cc.names())
    return "".join(parts) + f".. toctree::\n   :hidden:\n\n   gallery\n{names}\n"


def _gallery(shown: dict[str, Shown]) -> str:
    """The pictures of all methods on one page."""
    parts = [
        title("Gallery"),
        "The same four drawn scenes, explained by every method. Above: the scenes. In the middle: the pixels that "
        f"decide about {', '.join(f'“{one}”' for one in pictures.asked())}. Below: the maps for these classes.\n\n",
    ]
    for name, found in shown.items():
        if found.network:
            options = f"   :target: {name}.html\n   :alt: maps of {name}\n   :figclass: gallery\n"
            parts.append(f".. figure:: pictures/{name}.png\n{options}\n   {facts.paper_name(lookup(name))}\n\n")
    return "".join(parts)
