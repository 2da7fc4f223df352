"""The guides as a reader follows them: their code runs, their commands are understood, their links lead on."""

import re
import shlex
from pathlib import Path

import pytest

from lightning_callbacks.command.arguments import parse
from tests.support.blocks import run_blocks, small_world

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(DOCS.glob("guides/*.md"))
COMMAND = re.compile(r"^captum-cams ((?:.*\\\n)*.*)$", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .*dataloader.* does not have many workers", "ignore:The number of training batches"
)
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_block_of_python_runs(guide, tmp_path):
    if "```python" not in guide.read_text(encoding="utf-8"):
        pytest.skip("a guide without code")
    with small_world(tmp_path):
        assert run_blocks(guide, {"__name__": "text"})


def test_every_command_is_understood():
    commands = [found for guide in GUIDES for found in COMMAND.findall(guide.read_text(encoding="utf-8"))]
    assert len(commands) > 10
    for command in commands:
        parse(shlex.split(command.replace("\\\n", " ")))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_lead_to_what_is_there(guide):
    text = guide.read_text(encoding="utf-8")
    for place, part in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = guide.parent / place if place else guide
        assert target.exists(), place
        assert not part or part in _headings(target), f"{place}#{part}"


def _headings(file: Path) -> set[str]:
    """The anchors of a page, as GitHub and MyST make them from its titles."""
    titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}
