"""Run the blocks of Python in a text, in a small world in which nothing is downloaded, and read its tables."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import captum_cams as cc
from captum_cams import metrics
from tests.support.networks import TinyRes

# A block without the comment runs: <!-- not run: reason -->
_BLOCK = re.compile(r"(<!-- not run: .+ -->\n)?```python\n(.*?)```", re.DOTALL)


def run_blocks(file: Path, names: dict[str, Any]) -> int:
    """Run the blocks of a text one after the other, with the same names, and count them."""
    text = file.read_text(encoding="utf-8")
    blocks = [block for block in _BLOCK.finditer(text) if not block[1]]
    for block in blocks:
        # Lines of the file itself in a traceback.
        before = "\n" * text.count("\n", 0, block.start(2))
        exec(compile(before + block[2], file, "exec"), names)
    return len(blocks)


def first_column(text: str, title: str) -> list[str]:
    """The code in the first column of the tables whose header begins with a title."""
    tables = re.findall(rf"^\| {title} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells = [line.split("|")[1] for table in tables for line in table.splitlines()]
    return [name for cell in cells for name in re.findall("`(.+?)`", cell)]


def network(weights=None) -> nn.Module:
    """A small network with the classes and the layer names of a ResNet for ImageNet."""
    model = TinyRes()
    model.fc = nn.Linear(32, 1000)
    return model.eval()


@contextmanager
def small_world(folder: Path) -> Iterator[None]:
    """Work in a folder with a photograph, with a small ResNet-50, and with lists that a text may add its names to."""
    torch.manual_seed(0)
    entries = dict(metrics.METRICS)
    weights = torchvision.models.ResNet50_Weights.DEFAULT.value
    small = replace(weights, transforms=partial(weights.transforms, crop_size=32, resize_size=32))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(cc.registry, "_classes", dict(cc.registry._classes))
        patch.setattr(torchvision.models, "ResNet50_Weights", SimpleNamespace(DEFAULT=small))
        patch.setattr(torchvision.models, "resnet50", network)
        Image.effect_noise((64, 48), 60).save("photo.jpg")
        try:
            yield
        finally:
            metrics.METRICS.clear()
            metrics.METRICS.update(entries)
