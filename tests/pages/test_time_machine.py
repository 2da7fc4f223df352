"""The page of a training run: it shows what was explained, moves with its slider, and goes on after a checkpoint."""

import json

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_callbacks import CAMCallback
from lightning_callbacks.callback.time_machine import read_frames, sharpest_changes
from lightning_callbacks.callback.training_charts import training_charts
from tests.support.lightning_modules import Net, loaders, trainer

NAMES = ("round </script>", "square", "a third class with a long name")


def trained(folder, epochs, checkpoint=None, **options):
    given = {"num_images": 3, "metrics": ("complexity", "drift"), "report": True, "on_error": "raise", **options}
    callback, saved = CAMCallback(["gradcam", "fdcam"], **given), ModelCheckpoint(folder / "saved", save_last=True)
    run = trainer(folder, callbacks=[callback, saved], logger=False, max_epochs=epochs)
    run.fit(Net(), *loaders(), ckpt_path=checkpoint, weights_only=True)
    return callback, run, folder / "cam_report.html"


def test_the_lines_hold_what_was_explained_and_logged(tmp_path):
    callback, run, page = trained(tmp_path, 2)
    frames = read_frames(tmp_path / "cam_report.jsonl")
    assert [frame["epoch"] for frame in frames] == [0, 1]  # and none of the sanity check
    assert len(frames[0]["photographs"]) == 3
    assert not frames[1]["photographs"]  # each photograph is there once
    rows, images = frames[1]["rows"]["validation"], callback.explained["validation"]
    assert [row["predicted"] for row in rows] == [str(image.predicted) for image in images]
    assert [row["right"] for row in rows] == [image.predicted in image.annotation.classes for image in images]
    assert [row["drift"]["fdcam"] for row in rows] == pytest.approx(
        [image.drift["fdcam"] for image in images], abs=1e-4
    )
    logged = {tag: float(value) for tag, value in run.callback_metrics.items()}
    assert {tag: logged[tag] for tag in frames[1]["scalars"]} == pytest.approx(frames[1]["scalars"])
    assert "cam/fdcam/complexity" in frames[1]["scalars"]
    assert page.stat().st_size < 100_000
    assert not [*tmp_path.glob("*.new")]


def test_a_continued_run_takes_over_the_lines_before_its_first_step(tmp_path):
    trained(tmp_path / "a", 2)
    first = read_frames(tmp_path / "a" / "cam_report.jsonl")
    with (tmp_path / "a" / "cam_report.jsonl").open("a") as lines:
        lines.write(json.dumps({**first[-1], "step": 10**6}) + '\n{"epoch": 7, "st')  # of steps that are done again
    with pytest.warns(UserWarning, match="dirpath has changed"):
        trained(tmp_path / "b", 3, tmp_path / "a" / "saved" / "last.ckpt")
    frames = read_frames(tmp_path / "b" / "cam_report.jsonl")
    assert [frame["epoch"] for frame in frames] == [0, 1, 2]
    assert frames[:2] == first
    assert "Epoch" not in {tag for frame in frames for tag in frame["scalars"]}


def test_without_the_option_no_file_is_written(tmp_path):
    trained(tmp_path, 1, report=False)
    assert not [*tmp_path.glob("cam_report*")]


def test_the_sharpest_changes_are_the_lowest_correlations():
    means = [None, 0.9, 0.2, 1.0, 0.5, 0.4]
    frames = [{"rows": {"v": [{"drift": {} if mean is None else {"a": mean, "b": mean}}]}} for mean in means]
    assert sharpest_changes(frames) == [
        {"frame": 2, "correlation": 0.2},
        {"frame": 4, "correlation": 0.5},
        {"frame": 5, "correlation": 0.4},
    ]
    assert sharpest_changes(frames[:1]) == []


def test_charts_join_what_belongs_together():
    scalars = [
        {"train_loss": 1.0, "train_loss_step": 2.0, "val_loss": 3.0, "val/accuracy": 0.5, "cam/a/energy": 0.1},
        {"train_loss": 0.5, "cam/a/energy": 0.2, "cam/b/energy": 0.3, "cam/seconds": 9.0},
    ]
    found = {
        chart["title"]: {one["name"]: one["y"] for one in chart["series"]} for chart in training_charts(scalars, "cam")
    }
    assert found == {
        "loss": {"train_loss": [1.0, 0.5], "val_loss": [3.0, None]},
        "accuracy": {"val/accuracy": [0.5, None]},
        "energy ↑": {"a": [0.1, 0.2], "b": [None, 0.3]},
    }


def test_the_slider_moves_every_picture(browser, tmp_path):
    *_, page = trained(tmp_path, 3, class_names=NAMES)
    browser.open(page)
    asked = [address for address in browser.requests if not address.startswith("data:")]  # these are in the page
    assert (asked, browser.faults) == ([page.as_uri()], [])
    browser.wait("document.querySelectorAll('.card canvas').length === 9")
    said = "document.querySelector('#player output').textContent"
    assert browser.run(said).startswith("epoch 2")
    pixels = "document.querySelectorAll('.card canvas')[1].toDataURL()"
    last = browser.run(pixels)
    browser.run("document.querySelector('#player input').focus()")
    browser.press("Home")
    assert browser.run(said).startswith("epoch 0")
    browser.wait(f"{pixels} !== {json.dumps(last)}")
    browser.click(".play")
    browser.wait(f"{said}.startsWith('epoch 2') && document.querySelector('.play').textContent.includes('Play')")
    browser.wait(f"{pixels} === {json.dumps(last)}")
    browser.click("#changes .change")
    assert not browser.run(said).startswith("epoch 0")
    before = browser.run(pixels)
    slide = "const e = document.querySelector('#controls input'); e.value = 0; e.dispatchEvent(new Event('input'));"
    browser.run(f"(() => {{ {slide} }})()")
    browser.wait(f"{pixels} !== {json.dumps(before)}")
    browser.resize(390)
    browser.settle()
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.faults == []


def test_one_validation_is_enough_for_a_page(tmp_path, browser):
    torch.manual_seed(0)
    *_, page = trained(tmp_path, 1)
    browser.open(page, width=390)
    browser.wait("document.querySelectorAll('.card canvas').length === 9")
    assert browser.faults == []
