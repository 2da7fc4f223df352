"""Batches, outputs and loaders of other forms in the callback."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams.metrics import energy_inside, pointing_game
from lightning_callbacks import CAMCallback
from lightning_callbacks.callback.report import Report
from lightning_callbacks.network import class_scores
from tests.support.lightning_modules import Net, data, loaders, trainer

BOX = torch.tensor([[6, 6, 18, 18]])


@dataclass
class Output:
    logits: torch.Tensor
    features: torch.Tensor


class Dictionaries(Net):
    """Batches are mappings with boxes, the output is a dataclass."""

    def forward(self, x):
        return Output(super().forward(x), x)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self(batch["image"]).logits, batch["label"])

    def validation_step(self, batch, batch_idx):
        self(batch["image"])


def test_localisation_where_the_batch_carries_boxes(tmp_path):
    train, val = (
        [{"image": x, "label": y, "boxes": BOX} for x, y in zip(*d.tensors, strict=True)] for d in (data(), data(12, 1))
    )
    callback = CAMCallback("gradcam", num_images=12, metrics=("energy", "pointing_game", "iou"), on_error="raise")
    run = trainer(tmp_path, callbacks=[callback], logger=False, max_epochs=3)
    model = Dictionaries()
    run.fit(model, DataLoader(train, 8), DataLoader(val, 8))
    images, labels = data(12, 1).tensors
    scores = model.eval()(images).logits
    known = scores.argmax(1) == labels  # the box is that of the label
    maps = cc.GradCAM(lambda x: model(x).logits, model.features).attribute(images, scores.argmax(1))[known]
    boxes = [BOX] * int(known.sum())
    energy = energy_inside(maps, boxes, (24, 24)).mean()
    assert float(run.callback_metrics["cam/gradcam/energy"]) == pytest.approx(float(energy), abs=1e-4)
    hits = pointing_game(maps, boxes, (24, 24)).float().mean()
    assert float(run.callback_metrics["cam/gradcam/pointing_game"]) == pytest.approx(float(hits))


def test_localisation_without_boxes_is_not_logged(tmp_path):
    run = trainer(tmp_path, callbacks=[CAMCallback(metrics=("energy",), on_error="raise")], logger=False, max_epochs=1)
    run.fit(Net(), *loaders())
    assert "cam/gradcam/energy" not in run.callback_metrics


def test_multi_label_targets_are_all_named(tmp_path):
    class MultiLabel(Net):
        def training_step(self, batch, batch_idx):
            return F.binary_cross_entropy_with_logits(self(batch[0]), batch[1].float())

        def validation_step(self, batch, batch_idx):
            self(batch[0])

    def several(count, seed):
        images, labels = data(count, seed).tensors
        return [(x, torch.tensor([1, int(y == 1), int(y == 2)])) for x, y in zip(images, labels, strict=True)]

    callback = CAMCallback("fdcam", class_names=("red", "green", "blue"), true_class=True, on_error="raise")
    run = trainer(tmp_path, callbacks=[callback], logger=CSVLogger(tmp_path), max_epochs=1)
    run.fit(MultiLabel(), DataLoader(several(24, 0), 8), DataLoader(several(12, 1), 8))
    rows = callback.explained["validation"]
    assert [row.annotation.classes for row in rows[:3]] == [(0,), (0, 1), (0, 2)]
    captions = [Report("cam", ("fdcam",), (), class_names=("red", "green", "blue")).caption(row) for row in rows[:3]]
    assert [caption.split("\n")[0] for caption in captions] == ["true red", "true red, green", "true red, blue"]


def test_two_loaders_have_their_own_panels_and_numbers(tmp_path):
    class Two(Net):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self(batch[0])

    callback = CAMCallback("gradcam", num_images=3, on_error="raise")
    run = trainer(tmp_path, callbacks=[callback], logger=CSVLogger(tmp_path), max_epochs=1)
    run.fit(Two(), loaders()[0], [DataLoader(data(12, seed), 8) for seed in (1, 2)])
    for number, seed in enumerate((1, 2)):
        rows = callback.explained[f"validation/dataloader_idx_{number}"]
        assert torch.equal(torch.stack([row.image for row in rows]), data(12, seed).tensors[0][:3])
        assert torch.isfinite(run.callback_metrics[f"cam/gradcam/over_all/dataloader_idx_{number}"])


def test_scores_of_a_dataclass():
    scores = torch.rand(2, 3)
    assert class_scores(Output(scores, torch.rand(1))) is scores
