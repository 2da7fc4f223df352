"""The callback in two real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import captum_cams as cc
from captum_cams.metrics import curve_area, insertion_curve
from tests.support.lightning_modules import Net, data
from tests.support.untouched import assert_equal

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run(out: Path, watched: str, devices: int, *more: str) -> list[dict]:
    out.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        str(ROOT / "tests" / "support" / "callback_run.py"),
        str(out),
        watched,
        str(devices),
        *more,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(devices)]


def panels(out: Path) -> list:
    (folder,) = out.glob("lightning_logs/version_*")
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload().Images("cam/validation")


def test_two_processes_train_as_without_it_and_show_one_panel(tmp_path):
    plain = run(tmp_path / "plain", "no", 2)
    watched = run(tmp_path / "watched", "yes", 2)
    for before, after in zip(plain, watched, strict=True):
        for key in ("weights", "optimizer", "random"):
            assert_equal(before[key], after[key], key)
        assert_equal(
            before["metrics"], {k: v for k, v in after["metrics"].items() if k in before["metrics"]}, "metrics"
        )
    # The first five images of the data set, though each process saw every other one, and one panel an epoch.
    expected = data(12, seed=1).tensors[0][:5]
    for rank in watched:
        assert torch.equal(torch.stack(rank["explained"]), expected)
        assert rank["warned"] == []
        assert rank["metrics"].keys() == watched[0]["metrics"].keys()
        names = [name for name in rank["metrics"] if name.startswith("cam/gradcam")]
        assert "cam/gradcam/insertion_auc" in names
        for name in names:
            assert rank["metrics"][name] == watched[0]["metrics"][name]
    assert len(panels(tmp_path / "watched")) == 3
    model = Net()
    model.load_state_dict(watched[0]["weights"])
    maps = cc.GradCAM(model.eval()).attribute(expected)
    mean = curve_area(insertion_curve(model, expected, maps, preset="quick")).mean()
    assert float(watched[0]["metrics"]["cam/gradcam/insertion_auc"]) == pytest.approx(float(mean), abs=1e-5)


def test_an_explainer_that_fails_on_one_process_holds_up_nobody(tmp_path):
    ranks = run(tmp_path / "failing", "yes", 2, "1")
    assert [len(rank["warned"]) for rank in ranks] == [1, 0]  # process zero, whose warnings people read, says it once
    assert "ZeroDivisionError: a broken explainer (on process 1 of 2)" in ranks[0]["warned"][0]
    assert torch.isfinite(ranks[0]["metrics"]["cam/failingon/insertion_auc"])
    assert len(panels(tmp_path / "failing")) == 3
