"""A metric of the user's own, added by one call, is known wherever a metric has a name."""

import csv
import json

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams.metrics import METRICS, register_metric
from lightning_callbacks import CAMCallback, evaluate
from lightning_callbacks.command.main import main
from tests.support.evaluation_run import Boxed, loader, network, quiet
from tests.support.lightning_modules import Net


@pytest.fixture
def peak():
    yield _peak(1.0)
    del METRICS["peak"]


def _peak(factor):
    @register_metric(higher_is_better=False)
    def peak(case):
        return factor * case.maps.flatten(1).amax(1)


def test_one_call_makes_it_known_everywhere(peak, tmp_path, capsys):
    model, out = network(), tmp_path / "out"
    table = evaluate(model, loader(), "gradcam", metrics=["peak"], trainer=quiet(), out=out)
    expected = cc.GradCAM(model).attribute(Boxed().images).flatten(1).amax(1)
    assert table["gradcam", "peak"].mean == pytest.approx(float(expected.mean()), rel=1e-5)
    assert "| peak ↓ |" in str(table)
    assert json.loads((out / "table.json").read_text())["table"]["gradcam"]["peak"]["n"] == len(expected)
    with open(out / "rows.csv", newline="") as file:
        assert [float(row["peak"]) for row in csv.DictReader(file)] == pytest.approx(expected.tolist(), rel=1e-5)
    data = TensorDataset(torch.rand(2, 3, 16, 16), torch.zeros(2).long())
    trainer = quiet(callbacks=[CAMCallback(metrics=["peak"], num_images=2)])
    trainer.validate(Net(), DataLoader(data, 2), verbose=False)
    assert "cam/gradcam/peak" in trainer.callback_metrics
    Image.new("RGB", (40, 32), (80, 10, 200)).save(tmp_path / "one.png")
    typed = ["evaluate", "--model", "tests.support.evaluation_run:network", "--data", str(tmp_path)]
    capsys.readouterr()
    assert main([*typed, "--metrics", "peak", "--out", str(tmp_path / "typed")]) == 0
    assert "| peak ↓ |" in capsys.readouterr().out


def test_a_folder_of_another_version_of_it_is_refused(peak, tmp_path):
    given = {"methods": "gradcam", "metrics": "peak", "out": tmp_path}
    first = evaluate(network(), loader(), **given, trainer=quiet())
    _peak(1.0)  # the same code again, as notebooks run a cell twice
    assert str(evaluate(network(), loader(), **given, trainer=quiet())) == str(first)
    _peak(2.0)
    with pytest.raises(cc.CAMError, match=r"differs in registered metrics\.peak\.function"):
        evaluate(network(), loader(), **given, trainer=quiet())


def test_a_folder_of_another_format_is_refused(tmp_path):
    given = {"methods": "gradcam", "metrics": "complexity", "out": tmp_path}
    evaluate(network(), loader(), **given, trainer=quiet())
    settings = tmp_path / "settings.json"
    kept = json.loads(settings.read_text())
    del kept["journal format"]  # which came with the second one
    settings.write_text(json.dumps(kept))
    with pytest.raises(cc.CAMError, match="another evaluation, which differs in journal format; pass another out"):
        evaluate(network(), loader(), **given, trainer=quiet())


@pytest.mark.parametrize("metrics", [[], ()])
def test_an_evaluation_without_metrics_is_refused_at_once(metrics):
    with pytest.raises(cc.CAMError, match="metrics must name at least one metric, got none"):
        evaluate(network(), loader(), "gradcam", metrics=metrics, trainer=quiet())
