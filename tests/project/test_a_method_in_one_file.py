"""CONTRIBUTING's method in five minutes, followed word for word."""

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

import captum_cams as cc
from captum_cams.registry import lookup, wrappers
from tests.support.networks import NETWORKS, images

ROOT = Path(__file__).parents[2]
# Read before pytest collects the contract tests, which run over names().
PLUGIN = """
import importlib, captum_cams.methods
captum_cams.methods.__path__.append({folder!r})
importlib.import_module("captum_cams.methods.{name}")
"""


@pytest.fixture
def file(tmp_path) -> Path:
    """The code of the text, in a file with the name that the text gives."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    path = tmp_path / re.search(r"`captum_cams/methods/(\w+\.py)`", text)[1]
    path.write_text(code)
    return path


def test_it_is_known_by_name_and_serves(file, monkeypatch):
    monkeypatch.setattr(cc.registry, "_classes", dict(cc.registry._classes))
    spec = spec_from_file_location(file.stem, file)
    spec.loader.exec_module(module_from_spec(spec))
    name = file.stem
    assert name in cc.names()
    assert name not in wrappers()
    model, x = NETWORKS["residual"](), images(2)
    cam = cc.create(name, model, "layer4")
    assert repr(cam) == f'{lookup(name).__name__}(layer="layer4")'
    assert torch.equal(cam.attribute(x, 1), cc.HiResCAM(model, "layer4").attribute(x, 1))
    assert cam != cc.create(name, model, "layer4", power=2.0)
    with pytest.raises(cc.CAMError, match="power must be positive, got 0"):
        cc.create(name, model, power=0)


@pytest.mark.slow
def test_the_tests_over_all_names_find_it_and_pass(file):
    (file.parent / "one_more_method.py").write_text(PLUGIN.format(folder=str(file.parent), name=file.stem))
    others = "plain or norm or dense or functional or place"  # one kind of network is enough here
    paths = [f"tests/methods/test_{kind}.py" for kind in ("contract", "cost", "hyperparameters")]
    chosen = ["-k", f"{file.stem} and not ({others})", "-m", "not slow"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "one_more_method", *chosen, *paths],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(file.parent)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", found.stdout)[1]) >= 10
