"""The guides as a reader follows them: their code runs, their commands are understood, their links lead on."""

import ast
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import captum_cams as cc
from captum_cams import metrics
from captum_cams.registry import lookup
from lightning_callbacks.command.arguments import parse
from tests.support.blocks import first_column, run_blocks, small_world

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(DOCS.glob("guides/*.md"))
COMMAND = re.compile(r"^captum-cams ((?:.*\\\n)*.*)$", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .*dataloader.* does not have many workers",
    "ignore:The number of training batches",
    "ignore:Input Tensor 0 did not already require gradients",  # of Captum's own methods
)
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_block_of_python_runs(guide, tmp_path):
    text = guide.read_text(encoding="utf-8")
    others = re.findall("<!-- needs: (.+) -->", text)
    for library in others:
        pytest.importorskip(library, reason="pip install '.[conformance]'")
    with small_world(tmp_path), warnings.catch_warnings():
        if others:
            warnings.simplefilter("ignore")  # their own
        if not run_blocks(guide, {"__name__": "text"}):
            pytest.skip("a guide without code that runs")


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_no_guide_has_a_gap(guide):
    comments = re.findall("<!--(.*?)-->", guide.read_text(encoding="utf-8"), re.DOTALL)
    assert all(re.match(" (needs|not run): .+ ", comment) for comment in comments)


def test_every_command_is_understood():
    commands = [found for guide in GUIDES for found in COMMAND.findall(guide.read_text(encoding="utf-8"))]
    assert len(commands) > 10
    for command in commands:
        parse(shlex.split(command.replace("\\\n", " ")))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_lead_to_what_is_there(guide):
    text = re.sub(r"```.*?```|`[^`]*`", "", guide.read_text(encoding="utf-8"), flags=re.DOTALL)
    for place, part in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = guide.parent / place if place else guide
        assert target.exists(), place
        assert not part or part in _headings(target), f"{place}#{part}"


def _headings(file: Path) -> set[str]:
    """The anchors of a page, as GitHub and MyST make them from its titles."""
    titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_every_quoted_error_is_in_the_code():
    """The beginnings of the messages in errors.md, whose … stand for values, begin messages of CAMErrors."""
    text = (DOCS / "guides" / "errors.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(quoted) > 40
    known = "\n".join(_messages())
    lost = [said for said in quoted if not re.search(".*".join(map(re.escape, said.split("…"))), known)]
    assert not lost


def _messages() -> Iterator[str]:
    """The strings of the packages, with … for their values."""
    for package in ("captum_cams", "lightning_callbacks"):
        for file in (DOCS.parent / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", "…") for part in node.values]
                    yield "".join(part if isinstance(part, str) else "…" for part in parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_the_tables_are_complete():
    text = "\n".join(guide.read_text(encoding="utf-8") for guide in GUIDES)
    explainers = {lookup(name).__name__ for name in cc.names()}
    measures = {name for name in metrics.__all__ if hasattr(getattr(metrics, name), "higher_is_better")}
    assert sorted(first_column(text, "class")) == sorted(explainers | measures - {"MetricEntry"})
    assert first_column(text, "preset") == [*metrics.PRESETS]
    assert first_column(text, "protocol") == [*metrics.PROTOCOLS]
    questions = text.partition("## Which question do you have?")[2].partition("\n## ")[0]
    named = {name for name in metrics.METRICS if f"`{name}`" in questions}
    left = {name for name in metrics.METRICS if name.startswith("localisation_error_")}  # written with a *
    assert named == {*metrics.METRICS} - left
