"""Maps that an evaluation saves, and the evaluation of these maps instead of the methods."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch.utils.data import DataLoader, TensorDataset

import captum_cams as cc
from captum_cams.adapters.fingerprint import fingerprint
from captum_cams.adapters.map_folder import Maps, file_of, read_maps, rows_of, write_batch
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


def test_safetensors_hold_the_same_maps_and_the_same_manifest(tmp_path, monkeypatch):
    folders = {kind: tmp_path / kind for kind in ("npz", "safetensors")}
    manifests = {}
    for kind, folder in folders.items():
        run(
            ["gradcam", "centre"], metrics="complexity", out=tmp_path / f"out {kind}", save_maps=folder, map_format=kind
        )
        assert {file.suffix for file in folder.glob("batch-*")} == {f".{kind}"}
        found = json.loads((folder / "manifest.json").read_text())
        assert (found.pop("files"), found.pop("evaluation") is None) == (kind, False)
        assert [batch.pop("file").split(".")[1] for batch in found["batches"]] == [kind] * len(found["batches"])
        manifests[kind] = found
    assert manifests["npz"] == manifests["safetensors"]
    one, other = (cc.StoredMaps(folder, "gradcam") for folder in folders.values())
    assert one.places.keys() == other.places.keys()
    images, target = torch.stack([Boxed()[i][0] for i in (9, 2)]), torch.tensor([1, 2])
    assert torch.equal(one(None, images, target), other(None, images, target))
    again = {"save_maps": folders["npz"], "out": tmp_path / "out npz", "metrics": "complexity"}
    with pytest.raises(cc.CAMError, match='holds npz files of this evaluation, got map_format="safetensors"'):
        run(["gradcam", "centre"], map_format="safetensors", **again)
    with pytest.raises(cc.CAMError, match="map_format must be one of 'npz', 'safetensors', got 'hdf5'"):
        run("gradcam", save_maps=tmp_path / "new", map_format="hdf5")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(cc.CAMError, match=r'not installed; pip install "captum-cams\[safetensors\]"'):
        run("gradcam", save_maps=tmp_path / "new", map_format="safetensors")
    assert not (tmp_path / "new").exists()


def test_both_formats_give_back_each_type_of_number(tmp_path):
    for dtype in (torch.float32, torch.float16, torch.float64, torch.bfloat16):
        maps = {"a": torch.rand(2, 1, 3, 4).to(dtype), "b": torch.rand(2, 1, 5, 4).to(dtype)}
        for kind in ("npz", "safetensors"):
            write_batch(tmp_path, 3, Maps([4, 7], [0, 1], ["x", "y"], [6, 8], maps), kind)
            file = file_of(tmp_path, 3, kind)
            for name, expected in maps.items():
                found = read_maps(file, name)
                assert torch.equal(found, expected.to(found.dtype))
                assert found.dtype == (torch.float32 if (kind, dtype) == ("npz", torch.bfloat16) else dtype)
            assert rows_of(file) == {
                **{"file": file.name, "images": [4, 7], "classes": [0, 1], "fingerprints": ["x", "y"]},
                **{"image_size": [6, 8], "map_sizes": {"a": [3, 4], "b": [5, 4]}},
            }


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
