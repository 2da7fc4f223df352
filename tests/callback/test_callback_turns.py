"""At which validations the callback explains, and what those who monitor it find."""

import warnings

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

import captum_cams as cc
from lightning_callbacks import CAMCallback
from lightning_callbacks.callback.schedule import Schedule
from tests.support.lightning_modules import Net, loaders, trainer
from tests.support.training import Watching, events, fit

CHEAP = {"num_images": 2, "metrics": ("complexity",), "on_error": "raise"}


@pytest.mark.parametrize(
    ("turns", "validations", "explained"),
    [
        ({}, {}, [(0, 3), (1, 6), (2, 9), (3, 12)]),
        ({"every_n_epochs": 2}, {}, [(0, 3), (2, 9)]),
        ({"every_n_epochs": 3}, {"check_val_every_n_epoch": 2}, [(1, 6)]),
        ({"every_n_validations": 2}, {"check_val_every_n_epoch": 2}, [(1, 6)]),
        ({"every_n_epochs": 2}, {"val_check_interval": 6, "check_val_every_n_epoch": None}, [(1, 6), (3, 12)]),
        ({"every_n_epochs": 3}, {"val_check_interval": 2, "check_val_every_n_epoch": None}, [(0, 2), (3, 10)]),
        ({"every_n_validations": 3}, {"val_check_interval": 2, "check_val_every_n_epoch": None}, [(0, 2), (2, 8)]),
        ({"every_n_epochs": 100}, {"val_check_interval": 1}, [(0, 1)]),
        ({"every_n_epochs": 1}, {"val_check_interval": 1}, [(0, 1), (1, 4), (2, 7), (3, 10)]),
        ({"every_n_validations": 4}, {"val_check_interval": 1}, [(0, 1), (1, 5), (2, 9)]),
    ],
)
def test_epochs_are_training_epochs_and_validations_are_validations(tmp_path, turns, validations, explained):
    """Three training batches an epoch, four epochs; (epoch, step) of what is explained, the sanity check left out."""
    callback = CAMCallback(**CHEAP, **turns)
    watching = Watching(callback)
    fit(tmp_path, callback, watching, logger=False, max_epochs=4, num_sanity_val_steps=1, **validations)
    assert watching.turns == explained


def test_the_examples_of_the_docstring():
    def explained(epochs, **turns):
        schedule = Schedule(**turns)
        return [i for i, epoch in enumerate(epochs) if schedule.due(epoch)]

    assert explained(range(10)) == list(range(10))
    assert explained(range(10), every_n_epochs=3) == [0, 3, 6, 9]
    assert [(1, 3, 5, 7, 9)[i] for i in explained((1, 3, 5, 7, 9), every_n_epochs=3)] == [1, 5, 9]
    quarters = [epoch for epoch in range(3) for _ in range(4)]
    assert explained(quarters, every_n_epochs=1) == explained(quarters, every_n_validations=4) == [0, 4, 8]


@pytest.mark.filterwarnings("ignore:Be aware that when using")
def test_a_resumed_run_keeps_the_turns_and_the_last_values(tmp_path):
    tag = "cam/gradcam/complexity"
    options = {"logger": False, "max_epochs": 2, "num_sanity_val_steps": 0}
    first = CAMCallback(**CHEAP, every_n_epochs=3)
    run, _ = fit(tmp_path, first, ModelCheckpoint(tmp_path, save_last=True), **options)
    second = CAMCallback(**CHEAP, every_n_epochs=3)
    watching = Watching(second)
    best = ModelCheckpoint(tmp_path / "best", monitor=tag, save_top_k=-1)
    again = trainer(tmp_path, callbacks=[second, watching, best], **(options | {"max_epochs": 4}))
    again.fit(Net(), *loaders(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert [epoch for epoch, _ in watching.turns] == [3]
    values = [float(value) for value in best.best_k_models.values()]  # of epoch 2, where it is not explained, and 3
    assert values[0] == pytest.approx(float(run.callback_metrics[tag]))
    assert values[1] == pytest.approx(float(again.callback_metrics[tag]))


def test_a_test_never_goes_on_with_the_curves_of_the_validation(tmp_path):
    run, model = fit(tmp_path, CAMCallback(**CHEAP), logger=TensorBoardLogger(tmp_path), max_epochs=2)
    run.validate(model, loaders()[1], verbose=False)
    run.test(model, loaders()[1], verbose=False)
    board = events(run)
    assert len(board.Scalars("cam/gradcam/complexity")) == len(board.Images("cam/validation")) == 2
    for stage in ("validate", "test"):
        assert len(board.Scalars(f"cam/{stage}/gradcam/complexity")) == len(board.Images(f"cam/{stage}")) == 1
        assert len(board.Scalars(f"cam/{stage}/seconds")) == 1


class Sometimes(cc.GradCAM):
    """Fails in the epochs that are named."""

    def weights(self, seen):
        if self.run.current_epoch in self.failing:
            raise ZeroDivisionError("a broken explainer")
        return super().weights(seen)


class Plateau(Net):
    monitor = ""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 1e-2)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": self.monitor}}


@pytest.mark.parametrize(
    ("name", "failing"), [("drift", ()), ("complexity", (0,)), ("complexity", (1, 2)), ("complexity", (0, 1, 2, 3))]
)
@pytest.mark.parametrize("others", ["stopping", "both", "plateau"])
def test_nobody_who_monitors_is_stopped_by_an_explanation_that_is_missing(tmp_path, failing, name, others):
    torch.manual_seed(0)  # a map without spread, which some networks give at first, has no drift
    tag = f"cam/sometimes/{name}"
    model = Plateau() if others == "plateau" else Net()
    model.monitor = tag
    method = Sometimes(model)
    stop, best = EarlyStopping(tag, patience=10), ModelCheckpoint(tmp_path / "best", monitor=tag)
    callbacks = {"stopping": [stop], "both": [stop, best], "plateau": []}[others]
    callback = CAMCallback(method, num_images=2, metrics=("complexity", "drift"))
    run = trainer(tmp_path, callbacks=[callback, *callbacks], logger=TensorBoardLogger(tmp_path), max_epochs=4)
    method.run, method.failing = run, failing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.fit(model, *loaders(12))
    assert run.current_epoch == 4
    assert (stop.strict, stop.check_finite) == (True, True)
    board = events(run)
    logged = [one.value for one in board.Scalars(tag)] if tag in board.Tags()["scalars"] else []
    explained = 4 - len(failing)
    assert len(logged) == (explained if name == "complexity" else max(0, explained - 1))
    assert all(value == value for value in logged)
    if others == "both":
        assert best.best_model_path
        if logged:
            assert float(best.best_model_score) == pytest.approx(min(logged))
    if others == "stopping" and logged:
        assert float(stop.best_score) == pytest.approx(min(logged))
