"""What the callback explained is public: complete, on the CPU, and of the last epoch alone."""

import warnings

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams.metrics import average_drop
from captum_cams.metrics.annotation import Annotation
from lightning_callbacks import CAMCallback
from lightning_callbacks.callback import report
from lightning_callbacks.callback.explained import Explained
from lightning_callbacks.callback.report import Report
from lightning_callbacks.callback.split import Split
from lightning_callbacks.callback.watched_loader import WatchedLoader
from tests.support.lightning_modules import Net, data, loaders, trainer
from tests.support.training import Watching, fit


def test_it_is_what_was_logged_of_the_last_epoch(tmp_path):
    callback = CAMCallback(["gradcam", "fdcam"], num_images=3, true_class=True, metrics=("average_drop", "drift"))
    assert callback.explained == {}
    watching = Watching(callback)
    run, model = fit(tmp_path, callback, watching, logger=False)
    images, labels = (tensor[:3] for tensor in data(12, seed=1).tensors)
    model.eval()
    scores = model(images).detach()
    rows = callback.explained["validation"]
    assert [row.predicted for row in rows] == scores.argmax(1).tolist()
    assert [row.annotation.classes for row in rows] == [(label,) for label in labels.tolist()]
    torch.testing.assert_close(torch.stack([row.probabilities for row in rows]), scores.softmax(1))
    for name in ("gradcam", "fdcam"):
        cam = cc.create(name, model)
        for kind, classes in (("predicted", scores.argmax(1)), ("true", labels)):
            maps = torch.stack([row.maps[name][kind] for row in rows])
            torch.testing.assert_close(maps, cam.attribute(images, classes), rtol=1e-4, atol=1e-5)
        drops = torch.stack([row.values[name]["average_drop"] for row in rows])
        torch.testing.assert_close(drops, average_drop(model, images, cam.attribute(images)), rtol=1e-3, atol=1e-3)
        assert float(run.callback_metrics[f"cam/{name}/average_drop"]) == pytest.approx(float(drops.mean()))
    assert len(watching.epochs) == 2
    assert not any(row.drift for row in watching.epochs[0]["validation"])


def test_it_is_on_the_cpu_without_a_graph_and_of_one_epoch(tmp_path):
    callback = CAMCallback("gradcam", num_images=3, metrics=("iou", "over_all"), on_error="raise")
    run, model = fit(tmp_path, callback, logger=False, max_epochs=3)
    assert list(callback.explained) == ["validation"]
    assert len(callback.explained["validation"]) == 3
    for row in callback.explained["validation"]:
        tensors = [row.image, row.probabilities, *row.curves.values(), *row.values["gradcam"].values()]
        assert row.values["gradcam"].keys() == {"iou", "over_all"}
        for tensor in [*tensors, *row.maps["gradcam"].values()]:
            assert tensor.device.type == "cpu"
            assert not tensor.requires_grad
            assert not tensor.is_inference()
    run.test(model, loaders()[1], verbose=False)
    assert list(callback.explained) == ["test"]


def test_an_epoch_that_fails_leaves_nothing_of_the_one_before(tmp_path):
    class Once(Net):
        def forward(self, x):
            if not self.training and self.trainer.current_epoch == 1:
                return super().forward(x)[:, 0].mean()
            return super().forward(x)

        def validation_step(self, batch, batch_idx):
            pass

    callback = CAMCallback("gradcam", num_images=3, metrics=("complexity",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(tmp_path, callback, model=Once(), logger=False, max_epochs=2)
    assert callback.explained == {}


def test_columns_of_the_panel_follow_the_methods_as_given(monkeypatch, tmp_path):
    """One name begins with another, and the classes of one method stand side by side."""
    titles = []

    def panel(images, maps, captions, **options):
        titles.extend(maps)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(report.visual, "panel", panel)
    map_ = torch.rand(1, 3, 3)
    maps = {name: {"predicted": map_, "true": map_} for name in ("fdcam", "lrpcam", "lrp")}
    rows = [Explained(torch.rand(3, 8, 8), Annotation((1,)), 1, torch.rand(3), maps)]
    logger = CSVLogger(tmp_path)
    Report("cam", ("lrp", "fdcam", "lrpcam"), ()).log(logger, Split("validation", 0, True), 0, rows, "")
    names = ("LRP", "FD-CAM", "LRP-CAM")
    assert titles == [title for name in names for title in (name, f"{name}, true class")]


def test_a_checkpoint_of_before_with_maps_of_the_true_class_goes_on(tmp_path):
    images = data(12, seed=1).tensors[0][:2]
    first = WatchedLoader("first", 2, 0, 1)
    first.see(images, [Annotation((0,)), Annotation((1,))], None)
    first.end()
    map_ = torch.rand(1, 6, 6)
    first.gather(
        [[Explained(one, Annotation(), 0, torch.rand(3), {"gradcam": {"predicted": map_}}) for one in images]],
        [first.chosen()],
    )
    first.compare()
    loader = first.state()
    for maps in loader["maps"].values():
        maps["gradcam, true class"] = map_
    settings = {"num_images": 2, "choose": "first", "methods": ["gradcam"]}
    state = {"settings": settings, "methods": {}, "turn": [0, 1], "values": {}, "loaders": {"validation/0": loader}}
    callback = CAMCallback("gradcam", num_images=2, metrics=("drift",), true_class=True, on_error="raise")

    class Restoring(Watching):
        def on_fit_start(self, trainer, pl_module):
            callback.on_load_checkpoint(trainer, pl_module, {"CAMCallback": {"cam": state}})

        def on_train_end(self, trainer, pl_module):
            callback.on_save_checkpoint(trainer, pl_module, self.saved)

    restoring = Restoring(callback)
    restoring.saved = {}
    torch.manual_seed(0)
    run = trainer(tmp_path, callbacks=[callback, restoring], logger=False, max_epochs=1, num_sanity_val_steps=0)
    run.fit(Net(), loaders()[0], DataLoader(data(12, seed=1), 4))
    assert [[*row.drift] for row in callback.explained["validation"]] == [["gradcam"]] * 2
    saved = restoring.saved["CAMCallback"]["cam"]["loaders"]["validation/0"]
    assert [[*maps] for maps in saved["maps"].values()] == [["gradcam"]] * 2
