"""README and CONTRIBUTING as a reader follows them: their code runs, their tables are complete, their links lead on."""

import re
import shlex
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams import metrics
from captum_cams.registry import lookup
from lightning_callbacks.command.arguments import parse
from tests.support.blocks import first_column, network, run_blocks, small_world
from tests.support.lightning_modules import Net, loaders

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


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
            "vit": torchvision.models.VisionTransformer(32, 16, 12, 2, 16, 16),
            "swin": torchvision.models.SwinTransformer([4, 4], 8, [1] * 4, [1] * 4, [2, 2]),
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


def test_every_command_is_understood():
    commands = re.findall(r"^captum-cams (.+)$", README, re.MULTILINE)
    known = {"explain", "evaluate", "trial", "export", "benchmark", "methods"}
    assert {parse(shlex.split(command))[0] for command in commands} == known


def test_the_tables_are_complete():
    explainers = {lookup(name).__name__ for name in cc.names()}
    measures = {name for name in metrics.__all__ if hasattr(getattr(metrics, name), "higher_is_better")}
    assert sorted(first_column(README, "class")) == sorted(explainers | measures - {"MetricEntry"})
    assert first_column(README, "preset") == [*metrics.PRESETS]
    assert first_column(README, "protocol") == [*metrics.PROTOCOLS]


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_what_is_there(file):
    text = (ROOT / file).read_text()
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r'\]\((?!http)(.+?)\)|src="(.+?)"', text):
        place = "".join(target)
        assert place.removeprefix("#") in headings if place.startswith("#") else (ROOT / place).exists()
