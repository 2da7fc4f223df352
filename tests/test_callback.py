"""The callback in real training runs, with real event files."""

import math
import warnings

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams.metrics import average_drop, curve_area, insertion_curve
from lightning_callbacks import CAMCallback
from lightning_callbacks.batches import images_and_labels
from lightning_callbacks.network import class_scores
from tests.lightning_modules import Net, WithInnerModel, data, loaders, trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*dataloader.* does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


def events(run: pl.Trainer) -> EventAccumulator:
    accumulator = EventAccumulator(run.log_dir, size_guidance={"images": 0, "scalars": 0})
    return accumulator.Reload()


def fit(path, *callbacks, model=None, **options):
    pl.seed_everything(7)
    model = model or Net()
    run = trainer(path, callbacks=list(callbacks), **options)
    run.fit(model, *loaders())
    return run, model


def test_one_argument_is_enough_and_tensorboard_shows_it(tmp_path):
    run, _ = fit(tmp_path, CAMCallback("fdcam"), logger=TensorBoardLogger(tmp_path))
    board = events(run)
    assert board.Tags()["images"] == ["cam/validation", "cam/validation/curves"]
    scalars = {tag for tag in board.Tags()["scalars"] if tag.startswith("cam/")}
    names = ("insertion_auc", "deletion_auc", "over_all", "average_drop", "average_increase")
    assert scalars == {f"cam/fdcam/{name}" for name in (*names, "drift")} | {"cam/seconds"}
    card = board.Tensors("cam/validation/card/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| fdcam | features" in card
    panels, values = board.Images("cam/validation"), board.Scalars("cam/fdcam/insertion_auc")
    assert len(panels) == len(values) == 2
    assert [p.step for p in panels] == [v.step for v in values] == [v.step for v in board.Scalars("val_loss")]
    picture = torch.frombuffer(bytearray(panels[0].encoded_image_string), dtype=torch.uint8)
    assert picture[1:4].numpy().tobytes() == b"PNG"
    assert panels[0].width == 2 * 224
    assert panels[0].height > 8 * 224


def test_logged_values_are_the_metrics_of_the_kept_images(tmp_path):
    run, model = fit(tmp_path, CAMCallback(["gradcam", "fdcam"], num_images=5, preset="quick"), logger=False)
    x, model = data(12, seed=1).tensors[0][:5], model.eval()
    for name in ("gradcam", "fdcam"):
        maps = cc.create(name, model).attribute(x)
        insertion = curve_area(insertion_curve(model, x, maps, preset="quick")).mean()
        drop = average_drop(model, x, maps).mean()
        torch.testing.assert_close(run.callback_metrics[f"cam/{name}/insertion_auc"], insertion)
        torch.testing.assert_close(run.callback_metrics[f"cam/{name}/average_drop"], drop, rtol=1e-4, atol=1e-4)
        over_all = run.callback_metrics[f"cam/{name}/insertion_auc"] - run.callback_metrics[f"cam/{name}/deletion_auc"]
        torch.testing.assert_close(run.callback_metrics[f"cam/{name}/over_all"], over_all)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_training_is_the_same_to_the_bit(tmp_path, precision):
    def run(*callbacks):
        result, model = fit(tmp_path, *callbacks, precision=precision, logger=CSVLogger(tmp_path), max_epochs=3)
        optimizer = result.optimizers[0].state_dict()["state"]
        return model.state_dict(), optimizer, result.callback_metrics, torch.get_rng_state()

    plain = run()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watched = run(CAMCallback(["gradcam", "fdcam"], num_images=10))
    assert not [w for w in caught if "CAMCallback" in str(w.message)]
    for key, value in plain[0].items():
        assert torch.equal(value, watched[0][key]), key
    for index, entry in plain[1].items():
        assert all(torch.equal(value, watched[1][index][key]) for key, value in entry.items())
    for key, value in plain[2].items():
        assert torch.equal(value, watched[2][key]), key
    assert torch.equal(plain[3], watched[3])
    assert any(key.startswith("cam/") for key in watched[2])


@pytest.mark.parametrize("inference_mode", [True, False])
def test_validate_and_test_are_explained_too(tmp_path, inference_mode):
    model = Net()
    run = trainer(
        tmp_path,
        callbacks=[CAMCallback("fdcam")],
        inference_mode=inference_mode,
        logger=TensorBoardLogger(tmp_path),
    )
    metrics = run.validate(model, loaders()[1], verbose=False)[0]
    assert 0 <= metrics["cam/fdcam/insertion_auc"] <= 1
    metrics = run.test(model, loaders()[1], verbose=False)[0]
    assert 0 <= metrics["cam/fdcam/deletion_auc"] <= 1
    assert {"cam/validation", "cam/test"} <= set(events(run).Tags()["images"])
    assert not next(model.parameters()).is_inference()


def test_the_same_images_every_time_though_validation_shuffles(tmp_path):
    callback, kept = CAMCallback("gradcam", num_images=10, metrics=()), []
    run = trainer(tmp_path, callbacks=[callback], logger=CSVLogger(tmp_path), max_epochs=3)
    inner = callback._report.log
    callback._report.log = lambda *a: kept.append(torch.stack([row.image for row in a[3]])) or inner(*a)
    run.fit(Net(), loaders()[0], DataLoader(data(12, seed=1), 4, shuffle=True))
    assert len(kept) == 3
    assert all(torch.equal(kept[0], later) for later in kept)
    assert len(kept[0]) == 10


def test_every_n_epochs_and_fewer_images_than_wished_for(tmp_path):
    callback = CAMCallback("gradcam", num_images=50, every_n_epochs=2)
    run, _ = fit(tmp_path, callback, max_epochs=5, logger=TensorBoardLogger(tmp_path))
    panels = events(run).Images("cam/validation")
    assert len(panels) == 3
    assert panels[0].height > 12 * 224


def test_the_sanity_check_is_skipped(tmp_path):
    run, _ = fit(tmp_path, CAMCallback(), num_sanity_val_steps=2, max_epochs=1, logger=TensorBoardLogger(tmp_path))
    assert [panel.step for panel in events(run).Images("cam/validation")] == [2]


def test_checkpoint_and_early_stopping_can_monitor(tmp_path):
    best = ModelCheckpoint(tmp_path / "best", monitor="cam/fdcam/insertion_auc", mode="max")
    stop = EarlyStopping("cam/fdcam/over_all", mode="max", patience=5)
    run, _ = fit(tmp_path, CAMCallback("fdcam"), best, stop, max_epochs=3, logger=TensorBoardLogger(tmp_path))
    values = [v.value for v in events(run).Scalars("cam/fdcam/insertion_auc")]
    assert math.isclose(float(best.best_model_score), max(values), rel_tol=1e-6)
    assert f"epoch={values.index(max(values))}-" in best.best_model_path


def test_a_ready_instance_and_a_layer_by_name(tmp_path):
    model = Net()
    ready = cc.LayerCAM(model, model.features[3])
    run, _ = fit(tmp_path, CAMCallback(ready, metrics=("average_drop",)), model=model, logger=False)
    assert "cam/layercam/average_drop" in run.callback_metrics
    callback = CAMCallback("layercam", layer="features.3", metrics=("average_drop",))
    again, _ = fit(tmp_path, callback, model=None, logger=False)
    assert "cam/layercam/average_drop" in again.callback_metrics


def test_a_network_inside_the_module_with_a_dictionary_as_output(tmp_path):
    run, _ = fit(tmp_path, CAMCallback("gradcam", layer="features.4"), model=WithInnerModel(), logger=False)
    assert torch.isfinite(run.callback_metrics["cam/gradcam/insertion_auc"])


def test_batch_fn_and_output_fn(tmp_path):
    class Odd(Net):
        def forward(self, x):
            return [None, {"deep": super().forward(x)}]

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self(batch["x"])[1]["deep"], batch["y"])

        def validation_step(self, batch, batch_idx):
            self(batch["x"])

    train, val = ([{"x": x, "y": y} for x, y in zip(*d.tensors, strict=True)] for d in (data(), data(12, 1)))
    callback = CAMCallback(
        "fdcam",
        batch_fn=lambda batch: (batch["x"], batch["y"]),
        output_fn=lambda output: output[1]["deep"],
        class_names=("red", "green", "blue"),
        mean=(0.5, 0.5, 0.5),
        std=(1.0, 1.0, 1.0),
        on_error="raise",
    )
    run = trainer(tmp_path, callbacks=[callback], logger=TensorBoardLogger(tmp_path))
    run.fit(Odd(), DataLoader(train, 8), DataLoader(val, 8))
    assert len(events(run).Images("cam/validation")) == 2


class TwoNetworks(WithInnerModel):
    def __init__(self):
        super().__init__()
        self.second = nn.Linear(2, 2)


class Failing(cc.GradCAM):
    def weights(self, seen):
        raise ZeroDivisionError("a broken explainer")


def faults() -> dict:
    model = Net()
    return {
        "an explainer that raises": (
            Net(),
            CAMCallback(Failing(model)),
            "ZeroDivisionError: a broken explainer",
        ),
        "a layer that does not exist": (
            Net(),
            CAMCallback(layer="nowhere"),
            "layer must be a module or a dotted name",
        ),
        "a method that does not suit": (Net(), CAMCallback("cam", layer="features.0"), "use Grad-CAM"),
        "two networks and no forward": (
            TwoNetworks(),
            CAMCallback(),
            "must define forward",
        ),
        "a batch of another kind": (
            Net(),
            CAMCallback(batch_fn=lambda b: images_and_labels({})),
            "pass batch_fn",
        ),
        "an output of another kind": (
            Net(),
            CAMCallback(output_fn=lambda o: class_scores({"a": o, "b": o})),
            "output_fn",
        ),
        "NaN weights": (None, CAMCallback("fdcam"), "NaN"),
    }


@pytest.mark.parametrize("fault", faults())
def test_a_fault_costs_one_warning_and_training_ends_as_without_the_callback(tmp_path, fault):
    model, callback, reason = faults()[fault]
    if model is None:
        model = Net()
        nn.init.constant_(model.fc.weight, math.nan)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    fit(tmp_path, model=model, logger=False)
    plain = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run, _ = fit(tmp_path, callback, model=model, logger=TensorBoardLogger(tmp_path))
    found = [str(w.message) for w in caught if "CAMCallback skips" in str(w.message)]
    assert len(found) == 1
    assert reason in found[0]
    assert run.current_epoch == 2
    assert all(torch.equal(v, plain[k]) or v.isnan().any() for k, v in model.state_dict().items())
    name = next(iter(callback.methods))
    assert torch.isnan(run.callback_metrics[f"cam/{name}/insertion_auc"])


def test_on_error_raise_is_for_those_who_want_it(tmp_path):
    with pytest.raises(cc.CAMError, match="dotted name"):
        fit(tmp_path, CAMCallback(layer="nowhere", on_error="raise"), logger=False)


def test_one_method_that_fails_leaves_the_others(tmp_path):
    with pytest.warns(UserWarning, match="cam: CAMError"):
        run, _ = fit(tmp_path, CAMCallback(["cam", "gradcam"], layer="features.0"), logger=False)
    assert torch.isnan(run.callback_metrics["cam/cam/average_drop"])
    assert torch.isfinite(run.callback_metrics["cam/gradcam/average_drop"])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"method": "fdcan"}, "did you mean"),
        ({"method": []}, "at least one method"),
        ({"method": ["gradcam", "Grad-CAM"]}, "a name of its own"),
        ({"num_images": 0}, "at least 1"),
        ({"every_n_epochs": 0}, "at least 1"),
        ({"metrics": ("accuracy",)}, "must be one of"),
        ({"mean": (0.5,)}, "both or neither"),
        ({"on_error": "ignore"}, "must be one of"),
        ({"preset": "ris"}, "did you mean"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options, text):
    with pytest.raises(cc.CAMError, match=text):
        CAMCallback(**options)


def test_two_callbacks_in_one_trainer(tmp_path):
    first, second = CAMCallback("gradcam"), CAMCallback("fdcam")
    assert first.state_key != second.state_key
    run, _ = fit(tmp_path, first, second, logger=False)
    assert {"cam/gradcam/over_all", "cam/fdcam/over_all"} <= set(run.callback_metrics)


def test_a_wrapper_by_name(tmp_path):
    options = {"num_images": 2, "metrics": ["deletion_auc"], "on_error": "raise"}
    run, _ = fit(tmp_path, CAMCallback("FG-CAM(FD-CAM)", **options), logger=TensorBoardLogger(tmp_path))
    assert "cam/fgcam.fdcam/deletion_auc" in events(run).Tags()["scalars"]
