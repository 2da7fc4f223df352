"""The site of the documentation builds without a warning, is complete, and leads nowhere else."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

import captum_cams as cc
import lightning_callbacks
from captum_cams import benchmark, metrics, statistics, targets, visual
from tests.support.blocks import run_blocks, small_world
from tests.support.docstrings import public

ROOT = Path(__file__).parents[2]
PACKAGES = (cc, benchmark, metrics, statistics, targets, visual, lightning_callbacks)


# What a page needs, where it leads, and the places in it that others may lead to. The pages have 30 MB together, for
# which html.parser would take half a minute.
NEEDED = re.compile(r'<(?:script|img|source|iframe)\b[^>]* src="([^"]+)"|<link\b[^>]* href="([^"]+)"')
LINK = re.compile(r'<a\b[^>]* href="([^"]+)"')
PLACE = re.compile(r'<[^>]* id="([^"]+)"')
OUTSIDE = re.compile(r"(\w+:)?//|mailto:|data:")


def dead_ends(site: Path) -> list[str]:
    """What the pages need from outside, and the links inside the site that lead nowhere."""
    texts = {str(file): file.read_text() for file in site.rglob("*.html")}
    places = {file: {"", *map(unescape, PLACE.findall(text))} for file, text in texts.items()}
    found = set()
    for file, text in texts.items():
        folder, name = os.path.split(file)
        needed = {"".join(pair) for pair in NEEDED.findall(text)}
        found |= {f"{name} needs {address}" for address in needed if OUTSIDE.match(address) and "data:" not in address}
        for address in needed | {*LINK.findall(text)}:
            path, place = urldefrag(unescape(address))
            path = unquote(path.partition("?")[0])
            target = os.path.normpath(os.path.join(folder, path)) if path else file
            there = unquote(place) in places[target] if target in places else os.path.isfile(target)
            if not OUTSIDE.match(address) and not there:
                found.add(f"{name} leads to {address}")
    reads = re.compile(r"(url\(|@import) ?[\"']?(https?:)?//")
    styles = [file for file in site.rglob("*.css") if reads.search(file.read_text())]
    return sorted(found) + [f"{file.name} needs a place outside" for file in styles]


@pytest.mark.slow
def test_the_site_builds_is_complete_and_leads_nowhere_else(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "2", "-d", str(tmp_path / "pages")]
    # Nobody listens there, so a request to a network fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [*command, str(ROOT / "docs"), str(site)], env={**os.environ, **nowhere}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not dead_ends(site)

    inventory = {name.replace("-function", "") for name in (file.stem for file in site.rglob("*.html"))}
    for name, value in public(PACKAGES).items():
        if "." not in name and not name.startswith("_"):
            pages = {name.lower(), *(f"{package.__name__}.{name}" for package in PACKAGES)}
            assert pages & inventory, f"{name} ({value.__module__}) has no page"
    assert {*cc.names()} <= {file.stem for file in (site / "methods").glob("*.html")}
    assert {*metrics.METRICS} <= {file.stem for file in (site / "metrics").glob("*.html")}
    assert all("It rewards" in (site / "metrics" / f"{name}.html").read_text() for name in metrics.METRICS)
    listed = re.findall(r"\]\((.+?)\)", (site / "llms.txt").read_text())
    assert {*listed} == {str(file.relative_to(site)) for file in site.rglob("*.html")} - {
        "genindex.html",
        "search.html",
        "py-modindex.html",
    }


def test_dead_ends_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here"><a href="#there"><a href="b.html#x"><a href="c.html">'
    )
    (tmp_path / "b.html").write_text('<script src="https://cdn.example/x.js"></script><a href="https://example.org">')
    assert dead_ends(tmp_path) == [
        "a.html leads to #there",
        "a.html leads to b.html#x",
        "a.html leads to c.html",
        "b.html needs https://cdn.example/x.js",
    ]


def test_the_code_of_the_first_page_runs(tmp_path):
    with small_world(tmp_path):
        assert run_blocks(ROOT / "docs" / "index.md", {}) == 1
