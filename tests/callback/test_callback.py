"""The callback in real training runs, with real event files."""

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

import captum_cams as cc
from captum_cams.metrics import average_drop, curve_area, insertion_curve
from lightning_callbacks import CAMCallback
from tests.support.lightning_modules import Net, WithInnerModel, data, loaders, trainer
from tests.support.training import Watching, events, fit


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
    assert 2 * 224 < panels[0].width < 3 * 224
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
    assert 0 <= metrics["cam/test/fdcam/deletion_auc"] <= 1
    assert {"cam/validation", "cam/test"} <= set(events(run).Tags()["images"])
    assert not next(model.parameters()).is_inference()


def test_the_same_images_every_time_though_validation_shuffles(tmp_path):
    callback = CAMCallback("gradcam", num_images=10, metrics=())
    watching = Watching(callback)
    run = trainer(tmp_path, callbacks=[callback, watching], logger=CSVLogger(tmp_path), max_epochs=3)
    run.fit(Net(), loaders()[0], DataLoader(data(12, seed=1), 4, shuffle=True))
    kept = watching.images()
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


def test_on_error_raise_is_for_those_who_want_it(tmp_path):
    with pytest.raises(cc.CAMError, match="dotted name"):
        fit(tmp_path, CAMCallback(layer="nowhere", on_error="raise"), logger=False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"methods": "fdcan"}, "did you mean"),
        ({"methods": []}, "at least one method"),
        ({"methods": ["gradcam", "Grad-CAM"]}, "a name of its own"),
        ({"method": "fdcam"}, 'CAMCallback has no argument "method"; here it is called methods'),
        ({"num_image": 3}, 'CAMCallback has no argument "num_image"; did you mean "num_images"'),
        ({"num_images": 0}, "at least 1"),
        ({"every_n_epochs": 0}, "at least 1"),
        ({"every_n_validations": 0}, "at least 1"),
        ({"every_n_epochs": 2, "every_n_validations": 1}, "only one of both"),
        ({"prefix": "cam/"}, "prefix must have only"),
        ({"prefix": "../cam"}, "prefix must have only"),
        ({"methods": [nn.Identity()]}, "maps, got the module Identity"),
        ({"metrics": ("accuracy",)}, 'unknown metric "accuracy"; there are deletion_auc'),
        ({"mean": (0.5,)}, "both or neither"),
        ({"on_error": "ignore"}, "must be one of"),
        ({"preset": "ris"}, "did you mean"),
    ],
)
def test_wrong_arguments_are_refused_at_once(options, text):
    with pytest.raises(cc.CAMError, match=text):
        CAMCallback(**options)


def test_two_callbacks_in_one_trainer(tmp_path):
    first, second = CAMCallback(layer="features.0"), CAMCallback(layer="features.4", prefix="deep")
    assert first.state_key != second.state_key
    run, _ = fit(tmp_path, first, second, logger=TensorBoardLogger(tmp_path), max_epochs=1)
    board = events(run)
    assert {"cam/validation", "deep/validation"} <= set(board.Tags()["images"])
    for prefix, layer in (("cam", "features.0"), ("deep", "features.4")):
        alone, _ = fit(tmp_path / prefix, CAMCallback(layer=layer), logger=False, max_epochs=1)
        (value,) = board.Scalars(f"{prefix}/gradcam/insertion_auc")
        assert value.value == pytest.approx(float(alone.callback_metrics["cam/gradcam/insertion_auc"]))


def test_a_wrapper_by_name(tmp_path):
    options = {"num_images": 2, "metrics": ["deletion_auc"], "on_error": "raise"}
    run, _ = fit(tmp_path, CAMCallback("FG-CAM(FD-CAM)", **options), logger=TensorBoardLogger(tmp_path))
    assert "cam/fgcam.fdcam/deletion_auc" in events(run).Tags()["scalars"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"layer": "features.0"}, {"layer": "features.4"}),
        ({"methods": "gradcam"}, {"methods": "gradcam"}),
        ({"methods": "gradcam"}, {"methods": "fdcam"}),  # the panels and the seconds
        ({}, {"prefix": "cam/test"}),  # the first one in the test, the second one in the validation
    ],
)
def test_callbacks_that_share_a_tag_are_refused_at_setup(tmp_path, one, other):
    with pytest.raises(cc.CAMError, match="give one of them another prefix="):
        fit(tmp_path, CAMCallback(**one), CAMCallback(**other), logger=False)


@pytest.mark.parametrize("metrics", ["complexity", iter(["complexity"])])
def test_metrics_are_one_name_or_any_names(metrics):
    callback = CAMCallback(metrics=metrics)
    assert callback.metrics == callback.protocol.metrics == ("complexity",)
