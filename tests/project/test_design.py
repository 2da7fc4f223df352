"""The direction of the imports, the size of the files, and the words on every public thing."""

import ast
import inspect
from pathlib import Path

import pytest

import captum_cams as cc
from captum_cams import metrics
from captum_cams.registry import lookup, wrappers
from tests.support.private_names import INTERNALS, foreign_private_names

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "errors": set(),
    "extras": {"errors"},
    "images": set(),
    "engine": {"errors", "images", "engine"},
    "relevance": {"errors", "engine", "relevance"},
    "cost": set(),
    "paper": set(),
    "argument_names": {"errors"},
    "hyperparameters": {"errors", "engine", "argument_names", "paper"},
    "registry": {"errors", "argument_names", "cost", "paper"},
    "bases": {
        *("errors", "images", "engine", "relevance", "argument_names", "hyperparameters", "cost", "paper"),
        *("registry", "bases"),
    },
    "networks": {"errors", "images"},
    "methods": {"errors", "extras", "images", "networks", "engine", "relevance", "cost", "paper", "registry", "bases"},
    "wrappers": {"errors", "images", "engine", "relevance", "cost", "paper", "registry", "bases"},
    "adapters": {"errors", "extras", "engine", "cost", "bases", "adapters"},  # code of others
    "export": {"errors", "images", "engine", "registry", "bases", "export"},  # finds the methods in the registry
    "regions": {"errors", "argument_names", "images"},
    "metrics": {"errors", "extras", "images", "engine", "regions", "metrics"},
    "targets": {"errors", "engine", "targets"},
    "losses": {"errors"},
    "statistics": {"errors", "engine", "statistics"},  # of the engine, the random numbers
    "visual": {  # the engine and the bases for show, which explains one image
        *("errors", "images", "regions", "engine", "registry", "bases", "visual"),
    },
    "benchmark": {"errors", "images", "registry", "metrics", "benchmark"},
    "concepts": {"errors", "extras", "images", "argument_names", "engine", "visual", "concepts"},
}
DRAWING = ("visual/", "concepts/panel.py", "benchmark/radar.py", "statistics/rank_figure.py")
FOREIGN = (
    "adapters/foreign_code.py",
    "adapters/map_folder.py",
    "adapters/storedmaps.py",
)  # its random state, its files
# The wings of lightning_callbacks, and which of them each may import; what they share imports none.
WINGS = {"callback": {"callback"}, "evaluation": {"evaluation"}, "command": {"callback", "evaluation", "command"}}
FOLDERS = ("captum_cams", "lightning_callbacks", "tests", "examples", "benchmarks", "docs")
OURS = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
FILES = sorted((ROOT / "captum_cams").rglob("*.py"))
LIGHTNING = sorted((ROOT / "lightning_callbacks").rglob("*.py"))
LIBRARY = [*FILES, *LIGHTNING]


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_imports_go_one_way(file):
    part = file.relative_to(ROOT / "captum_cams").parts[0].removesuffix(".py")
    names = imported(file)
    assert not any(name.split(".")[0] in ("lightning", "pytorch_lightning", "lightning_callbacks") for name in names)
    if not file.relative_to(ROOT / "captum_cams").as_posix().startswith(DRAWING + FOREIGN):
        assert not any(name.split(".")[0] in ("numpy", "matplotlib") for name in names)
    if part != "__init__":
        inner = {name.split(".")[1] for name in names if name.startswith("captum_cams.")}
        assert inner <= ALLOWED[part]
        if part in ("methods", "wrappers"):
            assert not any(name.startswith(("captum_cams.methods", "captum_cams.wrappers")) for name in names)


@pytest.mark.parametrize("file", LIBRARY, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_private_names_of_other_libraries_are_in_one_file_each(file):
    if file.relative_to(ROOT).as_posix() not in INTERNALS:
        assert not foreign_private_names(file)


@pytest.mark.parametrize("file", LIGHTNING, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_callback_and_evaluation_do_not_know_each_other(file):
    part = file.relative_to(ROOT / "lightning_callbacks").parts[0]
    inner = {name.split(".")[1] for name in imported(file) if name.startswith("lightning_callbacks.")}
    if part != "__init__.py":
        assert inner & WINGS.keys() <= WINGS.get(part, set())
    if part != "pages":
        assert "jinja2" not in imported(file)
    else:
        assert inner <= {"pages"}


def test_only_the_command_line_imports_the_benchmark():
    users = {
        file.relative_to(ROOT).as_posix().split("/")[1]
        for file in LIBRARY
        if any(name.startswith("captum_cams.benchmark") for name in imported(file))
    }
    assert users == {"benchmark", "command"}


@pytest.mark.parametrize("file", OURS, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_files_are_small_and_well_named(file):
    assert len(file.read_text().splitlines()) <= 300
    assert file.stem not in ("utils", "helpers", "common", "misc")


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("file", TESTS, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_no_test_imports_another(file):
    parts = [part for name in imported(file) for part in name.split(".")]
    assert not any(part.startswith("test_") or part == "conftest" for part in parts)


def test_every_method_is_one_file_named_like_its_class_and_documented():
    for name in cc.names():
        cls = lookup(name)
        folder = "wrappers" if name in wrappers() else "methods"
        assert cls.__module__ == f"captum_cams.{folder}.{name}"
        assert cls.__name__.lower() == name
        assert getattr(cc, cls.__name__) is cls
        assert "map" in inspect.getdoc(cls) or "w_k" in inspect.getdoc(cls)
        assert any(year in inspect.getdoc(cls) for year in map(str, range(2016, 2027)))
    for name in metrics.__all__:
        assert inspect.getdoc(getattr(metrics, name))
