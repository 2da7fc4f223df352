"""Evaluation, callback and command line read the scores of each task."""

import math

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams import metrics
from captum_cams.engine.scores import scores_of
from captum_cams.metrics.annotation import Annotation
from lightning_callbacks import CAMCallback, evaluate
from lightning_callbacks.callback.selection import losses_of
from lightning_callbacks.command.main import main
from tests.support.networks import images
from tests.support.tasks import PROBABILITY, small, task_of


def test_losses_are_those_of_the_task():
    scores, known = torch.randn(3, 4) * 3, [Annotation((1, 2)), Annotation((0,)), Annotation()]
    found = losses_of(scores, known, "multiclass")
    torch.testing.assert_close(
        found, F.cross_entropy(scores, torch.tensor([1, 0, scores[2].argmax()]), reduction="none")
    )
    labels = torch.stack((torch.tensor([0.0, 1, 1, 0]), torch.tensor([1.0, 0, 0, 0]), (scores[2] > 0).float()))
    p = PROBABILITY["multilabel"](scores)
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean(1)
    torch.testing.assert_close(losses_of(scores, known, "multilabel"), expected, rtol=1e-4, atol=1e-5)
    z = torch.tensor([[2.0], [-3.0], [0.5]])
    expected = -PROBABILITY["binary"](z)[torch.arange(3), [1, 0, 1]].log()
    torch.testing.assert_close(losses_of(scores_of(z, "binary"), known, "binary"), expected)
    with pytest.raises(cc.CAMError, match="needs a loss of classes"):
        losses_of(z, known, "regression")


METRICS = ("deletion_auc", "insertion_auc", "over_all")


@pytest.mark.parametrize("task", ["multilabel", "binary", "regression", "function"])
def test_evaluation_reads_the_task(task, tmp_path):
    model, x = small(task), images(4)
    data = DataLoader(TensorDataset(x), 2)
    table = evaluate(model, data, "gradcam", metrics=METRICS, layer="last", task=task_of(task), out=tmp_path)
    other = "multiclass" if task != "binary" else "regression"
    with pytest.raises(cc.CAMError, match=r"methods\.gradcam\.task, protocol\.task"):
        evaluate(model, data, "gradcam", metrics=METRICS, layer="last", task=other, out=tmp_path)
    with torch.no_grad():
        predicted = scores_of(model(x), task_of(task)).argmax(1)
    maps = cc.GradCAM(model, "last", task=task_of(task)).attribute(x, predicted)
    curve = metrics.deletion_curve(model, x, maps, predicted, preset="jittercam", task=task_of(task))
    assert math.isclose(table["gradcam", "deletion_auc"].mean, float(metrics.curve_area(curve).mean()), rel_tol=1e-4)
    with pytest.raises(cc.CAMError, match="must be made for the task that is measured"):
        evaluate(model, data, cc.GradCAM(model, "last", task="multiclass"), metrics=METRICS, task="multilabel")


class Binary(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = small("binary", flat=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def validation_step(self, batch, index):
        return F.binary_cross_entropy_with_logits(self(batch[0]), batch[1].float())


def test_the_callback_reads_the_task(tmp_path):
    module, x = Binary(), images(4)
    loader = DataLoader(TensorDataset(x, torch.tensor([0, 1, 0, 1])), 2)
    callback = CAMCallback(
        "gradcam", "network.last", task="binary", choose="hardest", num_images=2, true_class=True, on_error="raise"
    )
    trainer = pl.Trainer(callbacks=[callback], default_root_dir=tmp_path, enable_progress_bar=False, accelerator="cpu")
    found = trainer.validate(module, loader, verbose=False)[0]
    z = module(x).detach()
    losses = F.binary_cross_entropy_with_logits(z, torch.tensor([0.0, 1, 0, 1]), reduction="none")
    hardest = x[losses.argsort(descending=True)[:2]]
    side = (module(hardest) > 0).long()
    maps = cc.GradCAM(module, "network.last", task="binary").attribute(hardest, side)
    drop = metrics.average_drop(module, hardest, maps, side, task="binary").mean()
    assert math.isclose(found["cam/gradcam/average_drop"], float(drop), rel_tol=1e-3, abs_tol=1e-3)


def test_the_command_line_reads_the_task(tmp_path, monkeypatch):
    Image.new("RGB", (50, 40), (200, 90, 10)).save(tmp_path / "one.png")
    monkeypatch.chdir(tmp_path)
    model = ["--model", "tests.callback.test_tasks_in_lightning:one_logit", "--layer", "last"]
    explain = ["explain", "one.png", *model, "--out", "cams"]
    assert main([*explain, "--target", "1"]) == 2
    assert main([*explain, "--target", "1", "--task", "binary", "--methods", "groupcam"]) == 0
    data = ["evaluate", *model, "--data", str(tmp_path), "--metrics", "deletion_auc", "--out", "table"]
    assert main([*data, "--task", "regression"]) == 0
    assert main([*data, "--task", "softmax"]) == 2


def one_logit() -> nn.Module:
    return small("binary")
