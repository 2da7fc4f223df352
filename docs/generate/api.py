"""Writes the lists of all public names, from which autosummary makes one page for each."""

import ast
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from sphinx.pycode import ModuleAnalyzer

import captum_cams
import lightning_callbacks
from captum_cams import benchmark, metrics, statistics, targets, visual
from captum_cams.registry import lookup
from generate import docstrings
from generate.pages import indented, title, write_pages

PACKAGES: tuple[ModuleType, ...] = (captum_cams, metrics, targets, benchmark, statistics, visual, lightning_callbacks)


def public_names(package: ModuleType) -> list[str]:
    """The names that a package or a module offers to its users, without the packages inside it."""
    listed = getattr(package, "__all__", None)
    if listed is None:
        own = hasattr(package, "__path__")  # a package exports what it imports, a module what it defines
        listed = [
            name
            for name, value in vars(package).items()
            if not name.startswith("_")
            and not inspect.ismodule(value)
            and (own or getattr(value, "__module__", "") == package.__name__)
        ]
    return sorted(listed, key=str.lower)


def write(folder: Path) -> None:
    """Write ``index.rst`` and a list for each package into a folder."""
    pages = {f"{package.__name__}.rst": _list(package) for package in PACKAGES}
    names = "\n".join(f"   {package.__name__}" for package in PACKAGES)
    said = "".join(f":mod:`{one.__name__}`\n   {docstrings.first_sentence(one)}\n\n" for one in PACKAGES)
    index = f"{title('API')}{said}.. toctree::\n   :hidden:\n\n{names}\n"
    write_pages(folder, pages | {"index.rst": index})


def _list(package: ModuleType) -> str:
    """The lists of the classes, functions and values of one package."""
    explainers = [lookup(name) for name in captum_cams.names()]
    values = {name: getattr(package, name) for name in public_names(package)}
    earlier = [vars(one) for one in PACKAGES[: PACKAGES.index(package)]]
    shared = [name for name in values if any(one.get(name) is values[name] for one in earlier)]
    values = {name: value for name, value in values.items() if name not in shared}
    classes = [name for name, value in values.items() if inspect.isclass(value) and value not in explainers]
    functions = [name for name, value in values.items() if inspect.isroutine(value)]
    others = [name for name, value in values.items() if not inspect.isclass(value) and not inspect.isroutine(value)]
    parts = [
        title(package.__name__),
        f".. automodule:: {package.__name__}\n   :no-members:\n\n",
        f".. currentmodule:: {package.__name__}\n\n",
    ]
    if package is captum_cams:
        parts.append("The classes of methods and wrappers have :doc:`pages of their own </methods/index>`.\n\n")
    if shared:
        parts.append(f"It also has {', '.join(f':obj:`{name}`' for name in shared)} of the packages above.\n\n")
    for heading, names in (("Classes", classes), ("Functions", functions)):
        if names:
            listed = "\n".join(f"   {name}" for name in names)
            parts += [
                title(heading, "-"),
                f".. autosummary::\n   :toctree: generated\n   :nosignatures:\n\n{listed}\n\n",
            ]
    if others:
        parts += [title("Values", "-"), *(_value(package, name) for name in others)]
    return "".join(parts)


def _value(package: ModuleType, name: str) -> str:
    """Describe a value by the text that stands below its definition, and by the names in it."""
    value = getattr(package, name)
    said = ModuleAnalyzer.for_module(_home(package.__name__, name)).find_attr_docs().get(("", name), [])
    if isinstance(value, Mapping | tuple):
        said = [*said, "", "In it: " + ", ".join(f"``{entry}``" for entry in value) + "."]
    return f".. py:data:: {name}\n\n" + indented("\n".join(said)) + "\n\n"


def _home(module: str, name: str) -> str:
    """The module that defines a name, which others import from it."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and name in [alias.name for alias in node.names]:
            return _home(node.module, name)
    return module


def file_names() -> dict[str, str]:
    """Name the pages of functions whose name in lower case is that of a class, for disks that know no case."""
    full = [f"{package.__name__}.{name}" for package in PACKAGES for name in public_names(package)]
    capital = {name.lower() for name in full if name != name.lower()}
    return {name: f"{name}-function" for name in full if name in capital}
