"""The site of the documentation builds without a warning, is complete, and leads nowhere else."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
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


class Page(HTMLParser):
    """What a page needs, where it leads, and the places in it that others may lead to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.needed, self.links, self.places = list[str](), list[str](), {""}
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag in ("script", "img", "source", "iframe") and "src" in given:
            self.needed.append(given["src"])
        elif tag == "link":
            self.needed.append(given["href"])
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])


def outside(address: str) -> bool:
    return re.match(r"(\w+:)?//|mailto:|data:", address) is not None


def dead_ends(site: Path) -> list[str]:
    """What the pages need from outside, and the links inside the site that lead nowhere."""
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    found = []
    for file, page in pages.items():
        for address in [*page.needed, *page.links]:
            if outside(address):
                if address in page.needed and not address.startswith("data:"):
                    found.append(f"{file.name} needs {address}")
                continue
            path, place = urldefrag(address)
            target = (file.parent / unquote(path)).resolve() if path else file
            if not target.is_file() or (target in pages and unquote(place) not in pages[target].places):
                found.append(f"{file.name} leads to {address}")
    styles = [
        file for file in site.rglob("*.css") if re.search(r"(url\(|@import) ?[\"']?(https?:)?//", file.read_text())
    ]
    return found + [f"{file.name} needs a place outside" for file in styles]


@pytest.mark.slow
def test_the_site_builds_is_complete_and_leads_nowhere_else(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "2", "-d", str(tmp_path / "pages")]
    # No proxy is there, so a request to a network would fail the build.
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
    assert sorted(dead_ends(tmp_path)) == [
        "a.html leads to #there",
        "a.html leads to b.html#x",
        "a.html leads to c.html",
        "b.html needs https://cdn.example/x.js",
    ]


def test_the_code_of_the_first_page_runs(tmp_path):
    with small_world(tmp_path):
        assert run_blocks(ROOT / "docs" / "index.md", {}) == 1
