"""README and CONTRIBUTING as a reader follows them: their code runs, their tables are complete, their links lead on."""

import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams import metrics
from captum_cams.registry import lookup
from lightning_callbacks.command.arguments import parse
from tests.support.lightning_modules import Net, loaders
from tests.support.networks import TinyRes

ROOT = Path(__file__).parents[2]
# A block without the comment runs: <!-- not run: reason -->
BLOCK = re.compile(r"(<!-- not run: .+ -->\n)?```python\n(.*?)```", re.DOTALL)
README = (ROOT / "README.md").read_text()


class Short(pl.Trainer):
    """A Trainer that ends after one epoch, on the processor."""

    def __init__(self, **options) -> None:
        super().__init__(**options | {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False})


def network(weights=None) -> nn.Module:
    """A small network with the classes and the layer names of a ResNet for ImageNet."""
    model = TinyRes()
    model.fc = nn.Linear(32, 1000)
    return model.eval()


@pytest.fixture
def names(monkeypatch, tmp_path):
    """What the texts take from their reader: networks, data and a photograph, all of them small."""
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cc.registry, "_classes", dict(cc.registry._classes))
    weights = torchvision.models.ResNet50_Weights.DEFAULT.value
    small = replace(weights, transforms=partial(weights.transforms, crop_size=32, resize_size=32))
    monkeypatch.setattr(torchvision.models, "ResNet50_Weights", SimpleNamespace(DEFAULT=small))
    monkeypatch.setattr(torchvision.models, "resnet50", network)
    monkeypatch.setattr(pl, "Trainer", Short)
    Image.effect_noise((64, 48), 60).save("photo.jpg")
    entries = dict(metrics.METRICS)
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
    metrics.METRICS.clear()
    metrics.METRICS.update(entries)


@pytest.mark.filterwarnings(
    "ignore:The .*dataloader.* does not have many workers", "ignore:The number of training batches"
)
@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_every_block_of_python_runs(file, names):
    text = (ROOT / file).read_text()
    blocks = [block for block in BLOCK.finditer(text) if not block[1]]
    assert len(blocks) >= 2
    for block in blocks:
        # Lines of the file itself in a traceback.
        before = "\n" * text.count("\n", 0, block.start(2))
        exec(compile(before + block[2], ROOT / file, "exec"), names)
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


def column(title: str) -> list[str]:
    """The code in the first column of the tables whose header begins with a title."""
    tables = re.findall(rf"^\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", README, re.MULTILINE)
    cells = [line.split("|")[1] for table in tables for line in table.splitlines()]
    return [name for cell in cells for name in re.findall("`(.+?)`", cell)]


def test_the_tables_are_complete():
    explainers = {lookup(name).__name__ for name in cc.names()}
    measures = {name for name in metrics.__all__ if hasattr(getattr(metrics, name), "higher_is_better")}
    assert sorted(column("class")) == sorted(explainers | measures - {"MetricEntry"})
    assert column("preset") == [*metrics.PRESETS]
    assert column("protocol") == [*metrics.PROTOCOLS]


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
