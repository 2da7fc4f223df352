"""Pictures and scalars in every logger, by the real client where it works without a network."""

import csv
import warnings

import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

from lightning_callbacks import CAMCallback
from tests.support.training import events, fit

OPTIONS = {"num_images": 2, "metrics": ("average_drop", "over_all"), "on_error": "raise"}


def test_csv_gets_scalars_and_files(tmp_path):
    run, _ = fit(tmp_path, CAMCallback("gradcam", **OPTIONS), logger=CSVLogger(tmp_path))
    folder = tmp_path / run.logger.log_dir
    pictures = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert pictures == {f"cam/validation/{kind}{step}.png" for kind in ("", "curves/") for step in (2, 5)}
    with Image.open(folder / "cam/validation/2.png") as picture:
        assert 448 <= picture.size[0] < 560  # two columns of 224 pixels, and the margins
    assert "| gradcam | features" in (folder / "cam" / "validation" / "card.md").read_text()
    with open(folder / "metrics.csv", newline="") as file:
        written = [row["cam/gradcam/average_drop"] for row in csv.DictReader(file)]
    values = [float(value) for value in written if value]
    assert len(values) == 2  # one for each epoch
    assert values[-1] == pytest.approx(float(run.callback_metrics["cam/gradcam/average_drop"]), abs=1e-4)


def test_two_loggers_at_once(tmp_path):
    both = [TensorBoardLogger(tmp_path / "board"), CSVLogger(tmp_path / "files")]
    run, _ = fit(tmp_path, CAMCallback("gradcam", **OPTIONS), logger=both)
    assert len(events(run).Images("cam/validation")) == 2
    assert len(list((tmp_path / "files").rglob("*.png"))) == 4


def test_wandb_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="pip install '.[conformance]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own
        logger = WandbLogger(save_dir=tmp_path, offline=True, project="cams")
        run, _ = fit(tmp_path, CAMCallback("gradcam", **OPTIONS), logger=logger)
        folder = logger.experiment.dir
        summary = dict(logger.experiment.summary)
        wandb.finish()
    assert torch.isfinite(run.callback_metrics["cam/gradcam/average_drop"])
    assert summary["cam/gradcam/average_drop"] == pytest.approx(float(run.callback_metrics["cam/gradcam/average_drop"]))
    pictures = [path for path in (tmp_path / "wandb").rglob("*.png") if folder]
    assert len(pictures) == 4


def test_mlflow_in_a_local_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    pytest.importorskip("mlflow", reason="pip install '.[conformance]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client's own
        logger = MLFlowLogger("cams", tracking_uri=f"file:{tmp_path / 'store'}")
        fit(tmp_path, CAMCallback("gradcam", **OPTIONS), logger=logger)
        run = logger.experiment.get_run(logger.run_id)
    assert "cam/gradcam/average_drop" in run.data.metrics
    artifacts = [path for path in (tmp_path / "store").rglob("*") if path.suffix in (".png", ".md")]
    assert sum(path.suffix == ".png" for path in artifacts) == 4
    assert sum(path.suffix == ".md" for path in artifacts) == 1
