"""Consistency compares rows: in an evaluation, after an interruption, in two processes, and in the callback."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams import metrics
from lightning_callbacks import CAMCallback, Protocol, evaluate
from tests.support import evaluation_run
from tests.support.evaluation_run import IMAGES, Boxed, loader, network, quiet
from tests.support.lightning_modules import Net

METHODS = ("gradcam", "centre")
ANNOTATED = Protocol("consistency", classes="annotated")  # four classes


def rows(out: Path) -> dict[str, list[float]]:
    """The values of each method in rows.csv."""
    found: dict[str, list[float]] = {}
    with open(out / "rows.csv", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["method"], []).append(float(row["consistency"] or math.nan))
    return found


def run(out: Path):
    return evaluate(network(), loader(), METHODS, protocol=ANNOTATED, trainer=quiet(), out=out)


def test_rows_and_table_are_those_of_the_function(tmp_path):
    table, found = run(tmp_path), rows(tmp_path)
    data = Boxed()
    pairs = [(i, index) for i in range(IMAGES) for index in sorted({*data[i][1]["labels"].tolist()})]
    positions, classes = (list(side) for side in zip(*pairs, strict=True))
    for name in METHODS:
        maps = cc.create(name, network()).attribute(data.images[positions], classes)
        values = metrics.consistency(maps, classes)
        torch.testing.assert_close(table.values(name, "consistency"), values)
        assert found[name] == pytest.approx(values.tolist(), abs=1e-6)
        assert table[name, "consistency"].mean == pytest.approx(float(values.mean()), abs=1e-6)
        assert table[name, "consistency"].n == len(pairs)
    assert table["centre", "consistency"].mean == 1  # which is why consistency alone says nothing
    assert table.columns["consistency"].shape == (len(METHODS) * len(pairs), 64)
    assert table.columns["consistency"].dtype == torch.uint8


def test_an_interrupted_run_compares_the_old_rows_with_the_new_ones(tmp_path):
    whole = run(tmp_path / "whole")
    journal = (tmp_path / "whole" / "journal-0.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "half").mkdir()
    shutil.copy(tmp_path / "whole" / "settings.json", tmp_path / "half")
    (tmp_path / "half" / "journal-0.jsonl").write_text("".join(journal[: len(journal) // 2]))
    again = run(tmp_path / "half")
    assert torch.equal(again.columns["consistency"], whole.columns["consistency"])
    done = json.loads(journal[0])["entry"]["rows"]["columns"]["consistency"]
    assert len(json.dumps(done)) / len(done) < 64 * 7  # bytes in a row: "255.0, " at most


def test_the_callback_compares_the_images_of_the_predicted_class():
    torch.manual_seed(0)
    images, module = torch.rand(6, 3, 16, 16), Net()
    callback = CAMCallback(["gradcam", "centre"], metrics=["consistency"], num_images=6)
    trainer = quiet(callbacks=[callback])
    trainer.validate(module, DataLoader(TensorDataset(images, torch.zeros(6).long()), 4), verbose=False)
    classes = module.eval()(images).argmax(1)
    assert len(classes.unique()) < 6
    values = metrics.consistency(cc.GradCAM(module).attribute(images, classes), classes)
    assert float(trainer.callback_metrics["cam/gradcam/consistency"]) == pytest.approx(
        float(values.nanmean()), abs=1e-5
    )
    assert trainer.callback_metrics["cam/centre/consistency"] == 1


def test_without_two_images_of_a_class_there_is_no_scalar_and_no_number():
    module, image = Net(), torch.rand(1, 3, 16, 16)
    trainer = quiet(callbacks=[CAMCallback(metrics=["consistency", "entropy"], num_images=1)])
    trainer.validate(module, DataLoader(TensorDataset(image, torch.zeros(1).long())), verbose=False)
    assert "cam/gradcam/entropy" in trainer.callback_metrics
    assert "cam/gradcam/consistency" not in trainer.callback_metrics
    data = TensorDataset(image, torch.zeros(1).long())
    table = evaluate(network(), data, "gradcam", metrics=("consistency", "entropy"), trainer=quiet())
    assert table["gradcam", "consistency"].n == 0
    assert table["gradcam", "entropy"].n == 1


@pytest.mark.slow
def test_two_processes_compare_all_images(tmp_path):
    script = Path(evaluation_run.__file__)
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path), "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("journal-*"))) == 2
    model, images = network(), Boxed().images
    classes = model(images).argmax(1)
    values = metrics.consistency(cc.GradCAM(model).attribute(images, classes), classes)
    assert rows(tmp_path)["gradcam"] == pytest.approx(values.tolist(), abs=1e-5, nan_ok=True)
