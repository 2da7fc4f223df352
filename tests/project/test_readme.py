"""README and CONTRIBUTING as a reader follows them: their code runs, their links lead on, their lists are complete."""

import inspect
import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams import metrics
from captum_cams.registry import lookup
from lightning_callbacks.command.arguments import parse
from tests.support.blocks import network, run_blocks, small_world
from tests.support.lightning_modules import Net, loaders

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = ROOT / "docs" / "guides"


class Short(pl.Trainer):
    """A Trainer that ends after one epoch, on the processor."""

    def __init__(self, **options) -> None:
        super().__init__(**options | {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False})


@pytest.fixture
def names(monkeypatch, tmp_path):
    """What the texts take from their reader: networks and data, all of them small."""
    with small_world(tmp_path):
        monkeypatch.setattr(pl, "Trainer", Short)
        train, validation = loaders()
        yield {
            "__name__": "text",
            "model": network(),
            "module": Net(),
            "train_loader": train,
            "val_loader": validation,
            "loader": DataLoader([(torch.rand(3, 32, 32), label) for label in range(2)], 2),
        }


@pytest.mark.filterwarnings(
    "ignore:The .*dataloader.* does not have many workers", "ignore:The number of training batches"
)
@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_every_block_of_python_runs(file, names):
    assert run_blocks(ROOT / file, names) >= 2
    if file == "CONTRIBUTING.md":
        assert {"gradcamelementwise", "energy_outside"} <= {*cc.names(), *metrics.METRICS}
    else:
        assert Path("explained.png").exists()
        assert Path("results/table.md").exists()
        assert names["callback"].explained["validation"]


def test_the_readme_is_short_and_has_its_two_commands():
    assert len(README.splitlines()) <= 140
    commands = re.findall(r"^((?:python3|pip) .+&&.+)$", README, re.MULTILINE)
    assert [command.split()[-1] for command in commands] == ["examples/train_shapes.py", 'slow"']
    assert re.search(r"<!-- test -->\n```bash\npip .+\n```", README)  # .ci/run takes it from there


def test_every_command_is_understood():
    commands = re.findall(r"`captum-cams ([^`]+)`", README)
    assert {parse(shlex.split(command))[0] for command in commands} == {"explain", "example", "methods"}


@pytest.mark.parametrize("name", cc.names())
def test_a_method_has_what_its_page_tells(name):
    cls = lookup(name)
    assert inspect.getdoc(cls).splitlines()[0].endswith(".")
    assert str(cls.cost)
    assert cls.paper.title
    assert re.search(r"\S, .+ (19|20)\d\d$", str(cls.paper))
    assert cls.paper.url.startswith("https://")


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_metric_has_what_its_page_tells(name):
    entry = metrics.METRICS[name]
    assert inspect.getdoc(entry.function).split("\n\n")[0].endswith(".")
    assert isinstance(entry.higher_is_better, bool)


def column(title: str) -> list[str]:
    """The code in the first column of the tables of the guides whose header begins with a title."""
    text = "\n".join(guide.read_text(encoding="utf-8") for guide in sorted(GUIDES.glob("*.md")))
    tables = re.findall(rf"^\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells = [line.split("|")[1] for table in tables for line in table.splitlines()]
    return [name for cell in cells for name in re.findall("`(.+?)`", cell)]


def test_the_tables_of_the_guides_are_complete():
    explainers = {lookup(name).__name__ for name in cc.names()}
    measures = {name for name in metrics.__all__ if hasattr(getattr(metrics, name), "higher_is_better")}
    assert sorted(column("class")) == sorted(explainers | measures - {"MetricEntry"})
    assert column("preset") == [*metrics.PRESETS]
    assert column("protocol") == [*metrics.PROTOCOLS]


def test_every_link_works_where_pypi_shows_it():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    url = config["metadata"]["url"]
    links = ["".join(found) for found in re.findall(r'\]\((.+?)\)|(?:src|href)="(.+?)"', README)]
    assert all(link.startswith("https://") for link in links)
    raw = url.replace("github.com", "raw.githubusercontent.com")
    ours = [link for link in links if link.startswith((url, raw))]
    assert len(ours) > 10
    for link in ours:
        place = link.removeprefix(f"{url}/blob/main/").removeprefix(f"{raw}/main/")
        assert (ROOT / place).is_file(), link
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"repository-code: {url}\n" in cited
    assert f"version: {cc.__version__}\n" in cited
    for link in [*config["metadata"]["project_urls"].split(), *re.findall(r"https://[^>)\s]+", _security())]:
        assert not link.startswith("https://") or link.startswith(url)


def _security() -> str:
    return (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_links_of_contributing_lead_to_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for place in re.findall(r"\]\((?!http)(.+?)\)", text):
        assert place.removeprefix("#") in headings if place.startswith("#") else (ROOT / place).exists()
