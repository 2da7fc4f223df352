"""The callback with volumes, clips and signals: metrics, pictures, and a training that is not disturbed."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import nn

from captum_cams import metrics, visual
from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import trainer
from tests.support.training import events
from tests.support.untouched import assert_equal, hooks
from tests.support.volumes import SIZE, VolumeNet, balls, loaders


def run(path, *callbacks, **options):
    """A short training on volumes, and everything that it left behind."""
    pl.seed_everything(7)
    model = VolumeNet()
    made = trainer(path, callbacks=list(callbacks), **options)
    made.fit(model, *loaders())
    return made, {
        "weights": dict(model.state_dict()),
        "optimizer": made.optimizers[0].state_dict()["state"],
        "logged": {key: value for key, value in made.callback_metrics.items() if not key.startswith("cam/")},
        "random": torch.get_rng_state(),
        "gradients": [parameter.grad for parameter in model.parameters()],
        "hooks": hooks(model),
    }


@pytest.mark.slow
def test_training_on_volumes_is_the_same_to_the_bit_and_is_explained(tmp_path, monkeypatch):
    drawn, panel = [], visual.panel
    monkeypatch.setattr(visual, "panel", lambda *args, **options: drawn.append(panel(*args, **options)) or drawn[-1])
    _, plain = run(tmp_path / "plain", logger=False)
    callback = CAMCallback(["gradcam", "fdcam"], num_images=3, on_error="raise")
    made, watched = run(tmp_path / "watched", callback, logger=TensorBoardLogger(tmp_path))
    assert_equal(plain, watched, "volumes")

    board = events(made)
    assert len(board.Images("cam/validation")) == len(board.Images("cam/validation/curves")) == 2
    assert 3 * 224 < drawn[0].shape[1] < 4 * 224
    assert drawn[0].shape[0] > 3 * 3 * round(224 * 16 / 20)  # three slices of each of three volumes
    rows = callback.explained["validation"]
    assert [row.image.shape for row in rows] == [(1, *SIZE)] * 3
    images, classes = torch.stack([row.image for row in rows]), [row.predicted for row in rows]
    for name in ("gradcam", "fdcam"):
        maps = torch.stack([row.maps[name]["predicted"] for row in rows])
        assert maps.shape[1:] == (1, 3, 4, 5)
        drop = metrics.average_drop(made.lightning_module.eval(), images, maps, classes).mean()
        assert float(made.callback_metrics[f"cam/{name}/average_drop"]) == pytest.approx(float(drop), abs=1e-3)
        for metric in ("insertion_auc", "deletion_auc"):
            assert 0 < float(made.callback_metrics[f"cam/{name}/{metric}"]) < 1
    assert -1 <= float(made.callback_metrics["cam/fdcam/drift"]) <= 1


def test_masks_of_volumes_are_measured(tmp_path):
    _, labels, masks = balls(6, seed=1)  # those of the volumes for the validation
    known = [{"labels": label, "masks": mask[None]} for label, mask in zip(labels, masks, strict=True)]
    callback = CAMCallback(
        "gradcam",
        metrics="energy",
        batch_fn=lambda batch: (batch[0], known[: len(batch[0])]),
        num_images=4,
        on_error="raise",
    )
    made, _ = run(tmp_path, callback, logger=False)
    rows = callback.explained["validation"]
    for row, label in zip(rows, labels.tolist()[:4], strict=True):
        region, map_ = row.annotation.regions[label][None], row.maps["gradcam"]["predicted"][None]
        if row.predicted == label:
            expected = metrics.energy_inside(map_, region, SIZE)
            torch.testing.assert_close(row.values["gradcam"]["energy"][None], expected)
    assert any(row.predicted == label for row, label in zip(rows, labels.tolist()[:4], strict=True))
    assert "cam/gradcam/energy" in made.callback_metrics


class SignalNet(VolumeNet):
    """The same training on the mean of each slice, a signal along the depth."""

    def __init__(self) -> None:
        super().__init__()
        head = nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 2)
        self.network = nn.Sequential(nn.Conv1d(1, 6, 3, padding=1), nn.ReLU(), *head)

    def forward(self, x):
        return self.network(x.mean((3, 4)) if x.ndim == 5 else x)


def test_signals_are_measured_without_a_panel(tmp_path):
    callback = CAMCallback(
        "gradcam", num_images=2, metrics=("average_drop", "insertion_auc"), batch_fn=lambda b: (b[0].mean((3, 4)), b[1])
    )
    made = trainer(tmp_path, callbacks=[callback], logger=TensorBoardLogger(tmp_path))
    with pytest.warns(UserWarning, match="signals have no picture"):
        made.fit(SignalNet(), *loaders())
    assert callback.explained["validation"][0].maps["gradcam"]["predicted"].shape == (1, 12)
    assert "cam/gradcam/average_drop" in made.callback_metrics
    assert "cam/validation/curves" in events(made).Tags()["images"]
