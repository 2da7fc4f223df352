"""Maps that an evaluation saves, and the evaluation of these maps instead of the methods."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams.adapters.fingerprint import fingerprint
from lightning_callbacks import Protocol, evaluate
from lightning_callbacks.command.main import main
from lightning_callbacks.methods import named
from tests.support.evaluation_run import IMAGES, Boxed, loader, network, quiet
from tests.support.untouched import same, state

METRICS = ["average_drop", "complexity", "energy"]
LABELLED = Protocol((), preset="quick", classes="annotated")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's, of short runs


def brightness(model, images, target):
    return model[0](images).abs().sum(1)  # the user's own network


def run(methods, data=None, model=None, **options):
    given = {"metrics": METRICS, "protocol": LABELLED, "trainer": quiet(), **options}
    return evaluate(model or network(), data or loader(), methods, **given)


def values(table, name):
    return {metric: table.values(name, metric) for metric in METRICS}


def assert_same(one, other, names):
    for name, stored in names.items():
        for metric, column in values(one, name).items():
            assert torch.equal(column.nan_to_num(-1), values(other, stored)[metric].nan_to_num(-1)), (name, metric)


def test_stored_maps_give_the_table_of_the_methods(tmp_path):
    model = network()
    methods = {"cam": "gradcam", "bright": brightness, "of captum": Saliency(model), "own/name": cc.FDCAM(model)}
    before = state(model)
    table = run(methods, model=model, save_maps=tmp_path)
    assert same(before, state(model))
    stored = {f"stored {name}": cc.StoredMaps(tmp_path, name) for name in methods}
    again = run(stored, loader(batch_size=3), model=model)
    assert_same(table, again, {name: f"stored {name}" for name in methods})
    about = json.loads((tmp_path / "manifest.json").read_text())
    assert about["methods"]["cam"]["layer"] == "network.3"
    assert about["methods"]["bright"]["hyperparameters"]["function"] == "brightness"
    rows = [pair for batch in about["batches"] for pair in zip(batch["images"], batch["classes"], strict=True)]
    assert sorted(rows) == sorted(zip(*(table.rows("cam")[key].tolist() for key in ("image", "class")), strict=True))
    first = about["batches"][0]
    assert first["image_size"] == [24, 24]
    assert first["fingerprints"][0] == fingerprint(Boxed()[first["images"][0]][0])
    with np.load(tmp_path / first["file"]) as arrays:
        assert [*arrays["methods"]] == [*methods]
        maps = torch.from_numpy(arrays["map_0"])
    shown = torch.stack([Boxed()[i][0] for i in first["images"]])
    expected = cc.GradCAM(model, model[3]).attribute(shown, first["classes"])
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-6 * float(expected.max()))
    assert list(maps.shape[2:]) == first["map_sizes"]["cam"]


def test_an_interrupted_evaluation_saves_the_rest(tmp_path):
    out, maps, whole = tmp_path / "out", tmp_path / "maps", tmp_path / "whole"
    run("gradcam", save_maps=whole)

    class Interrupted(Boxed):
        def __getitem__(self, i):
            if i == 7:
                raise KeyboardInterrupt
            return super().__getitem__(i)

    def batches(data):
        return DataLoader(data, 2, collate_fn=lambda items: tuple(zip(*items, strict=True)))

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run("gradcam", batches(Interrupted()), out=out, save_maps=maps)
    with pytest.raises(cc.CAMError, match="has not ended"):
        cc.StoredMaps(maps)
    written = {file: file.stat().st_mtime_ns for file in maps.glob("batch-*.npz")}
    assert written
    run("gradcam", batches(Boxed()), out=out, save_maps=maps)
    assert all(file.stat().st_mtime_ns == time for file, time in written.items())
    one, other = (cc.StoredMaps(folder) for folder in (maps, whole))
    assert one.places == other.places
    image, labels = Boxed()[9]
    shown = image[None], torch.tensor([int(labels["labels"][0])])
    assert torch.equal(one(None, *shown), other(None, *shown))
    assert not [*maps.glob("*.new")]


def test_a_folder_is_used_for_one_evaluation(tmp_path):
    out, maps = tmp_path / "out", tmp_path / "maps"
    run("gradcam", out=out)
    with pytest.raises(cc.CAMError, match="batch 0 was measured without save_maps"):
        run("gradcam", out=out, save_maps=maps)
    run("gradcam", save_maps=maps)
    for options in ({}, {"out": tmp_path / "another"}):
        with pytest.raises(cc.CAMError, match="holds the maps of another evaluation"):
            run("centre", save_maps=maps, **options)


def test_what_is_not_stored_is_refused(tmp_path):
    with pytest.raises(cc.CAMError, match="no manifest"):
        cc.StoredMaps(tmp_path)
    run(["gradcam", "centre"], save_maps=tmp_path)
    with pytest.raises(cc.CAMError, match=r'StoredMaps\(folder, "gradcam"\)'):
        cc.StoredMaps(tmp_path)
    with pytest.raises(cc.CAMError, match="did you mean"):
        cc.StoredMaps(tmp_path, "centra")
    stored = {"stored": cc.StoredMaps(tmp_path, "centre")}
    with pytest.raises(cc.CAMError, match=r"stored: .* exact values of its image"):
        run(stored, TensorDataset(torch.rand(2, 3, 24, 24), torch.tensor([1, 2])))
    images = torch.stack([Boxed()[0][0]] * 2)
    with pytest.raises(cc.CAMError, match="for the class 0, not for 3"):
        run(stored, TensorDataset(images, torch.tensor([3, 3])))
    with pytest.raises(cc.CAMError, match=r"stored: .*leave out metrics that explain changed images"):
        run(stored, metrics="coherency")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(cc.CAMError, match="damaged"):
        cc.StoredMaps(tmp_path, "centre")


def test_a_changed_function_is_another_evaluation(tmp_path):
    run({"mine": lambda model, images, target: images.mean(1)}, out=tmp_path)
    run({"mine": lambda model, images, target: images.mean(1)}, out=tmp_path)
    with pytest.raises(cc.CAMError, match=r"differs in methods\.mine"):
        run({"mine": lambda model, images, target: images.amax(1)}, out=tmp_path)
    other = tmp_path / "captum"
    model = network()
    run({"mine": cc.CaptumMaps(Saliency(model))}, model=model, out=other)
    with pytest.raises(cc.CAMError, match=r"differs in methods\.mine\.options"):
        run({"mine": cc.CaptumMaps(Saliency(model), options={"abs": False})}, model=model, out=other)


def test_names_of_what_makes_maps():
    model = network()
    assert [*named([brightness, Saliency(model), "Grad-CAM"])] == ["brightness", "saliency", "gradcam"]
    for wrong in (model, Saliency, 3, Path("maps")):
        with pytest.raises(cc.CAMError, match=r"captum_cams\.StoredMaps\(folder\)"):
            named(wrong)


def test_the_command_saves_and_reads_maps(tmp_path, capsys):
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(noise).save(tmp_path / "images" / "noise.png")
    typed = ["evaluate", "--model", "tests.support.evaluation_run:network", "--data", str(tmp_path / "images")]
    typed += ["--methods", "gradcam", "--metrics", "complexity"]
    maps = str(tmp_path / "maps")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*typed, "--out", str(tmp_path / "one"), "--save_maps", maps]) == 0
        assert main([*typed, "--out", str(tmp_path / "two"), "--stored", f"gradcam={maps}"]) == 0
    one, two = (json.loads((tmp_path / name / "table.json").read_text()) for name in ("one", "two"))
    assert one["table"] == two["table"]
    assert two["settings"]["methods"]["gradcam"]["class"] == "FunctionMaps"
    assert main([*typed, "--stored", maps]) == 2
    assert "NAME=FOLDER" in capsys.readouterr().err


def test_every_image_is_saved(tmp_path):
    run("random", save_maps=tmp_path)
    about = json.loads((tmp_path / "manifest.json").read_text())
    assert {i for batch in about["batches"] for i in batch["images"]} == set(range(IMAGES))
