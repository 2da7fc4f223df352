"""Photographs, labels and checkpoints as they come: turned, damaged, huge, odd or of other classes."""

import argparse
import collections
import datetime
import os
import pathlib

import numpy as np
import pytest
import torch
from PIL import Image

import captum_cams as cc
from lightning_callbacks.command.checkpoints import read_state
from lightning_callbacks.command.folders import open_folder
from lightning_callbacks.command.main import main
from lightning_callbacks.command.read_image import read_image
from lightning_callbacks.evaluation.class_names import check_class_names
from tests.support.rectangles import WHOLE, lit, picture

MODEL = "tests.support.evaluation_run:network"
ORIENTATION = 274
# How a camera stores an upright picture for each orientation.
STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


def turned(file, upright, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    STORED[orientation](upright).save(file, exif=exif)


@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_and_boxes_are_those_of_the_upright_one(tmp_path, orientation):
    picture(tmp_path / "upright.png", (120, 80), (30, 10, 90, 40))
    upright = Image.open(tmp_path / "upright.png")
    turned(tmp_path / "a.png", upright, orientation)
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.png")), np.asarray(upright))
    (tmp_path / "labels.csv").write_text("file,class_index,x0,y0,x1,y1\na.png,4,30,10,90,40\n")
    image, target = open_folder(tmp_path, WHOLE)[0]
    assert (target["boxes"][0] - torch.tensor(lit(image))).abs().max() <= 2


def test_the_command_line_explains_the_upright_picture(tmp_path, capsys):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8))
    said = []
    for name, orientation in (("upright", 1), ("sideways", 6)):
        turned(tmp_path / f"{name}.png", noise, orientation)
        assert main(["explain", str(tmp_path / f"{name}.png"), "--model", MODEL, "--out", str(tmp_path / name)]) == 0
        said.append(capsys.readouterr().out.splitlines()[0].split(": ")[1])
    assert said[0] == said[1]
    one, two = (np.asarray(Image.open(tmp_path / name / f"{name}.png")) for name in ("upright", "sideways"))
    assert np.array_equal(one, two)


@pytest.fixture
def damaged(tmp_path):
    """A folder of four files, of which two are no pictures and one is half of one."""
    folder = tmp_path / "photos"
    picture(folder / "a.jpg", (90, 70), (10, 10, 40, 40))
    whole = (folder / "a.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "c.jpg").write_bytes(b"")
    (folder / "d.png").write_text("no picture")
    return folder


def test_damaged_pictures_are_named_or_left_out(damaged, tmp_path, capsys):
    out = str(tmp_path / "out")
    typed = ["evaluate", "--model", MODEL, "--data", str(damaged), "--metrics", "complexity", "--out", out]
    assert main(typed) == 2
    said = capsys.readouterr().err
    assert f"image 1 of the data cannot be read: {damaged / 'b.jpg'} cannot be read as an image (" in said
    assert said.strip().splitlines()[-1].startswith("captum-cams: ")
    with pytest.warns(UserWarning, match="left out image"):
        assert main([*typed, "--skip_unreadable"]) == 0
    assert "could not be read: 3 images (1, 2, 3)" in capsys.readouterr().out
    files = [str(file) for file in sorted(damaged.iterdir())]
    explain = ["explain", *files, "--model", MODEL, "--out", out]
    assert main(explain) == 2
    assert "b.jpg cannot be read as an image" in capsys.readouterr().err
    assert main([*explain, "--skip_unreadable"]) == 0
    assert capsys.readouterr().err.count("left out ") == 3
    assert main([*explain[:1], *files[1:], *explain[-4:], "--skip_unreadable"]) == 2
    assert "at least one image must be readable, got none of 3" in capsys.readouterr().err.splitlines()[-1]


def test_huge_pictures_are_named(tmp_path, monkeypatch):
    picture(tmp_path / "a.png", (90, 70), (10, 10, 40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(cc.CAMError, match=r"a\.png is too large .*6300 pixels.*PIL\.Image\.MAX_IMAGE_PIXELS"):
        read_image(tmp_path / "a.png")


HEAD = "file,class_index,x0,y0,x1,y1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must list at least one image"),
        (HEAD, "must list at least one image"),
        (
            "file;class_index\na.png;3\n",
            "line 2 must have a value for each column, and the columns must include file and class_index",
        ),
        ("file,class\na.png,3\n", "must include file and class_index, got file, class"),
        ("file,class_index\na.png,3,4\n", "line 2 must have a value for each column"),
        ("file,class_index\na.png,3.0\n", "class_index of 0, 1, 2, ..., got '3.0'"),
        ("file,class_index\na.png,-3\n", "got '-3'"),
        ("file,class_index\na.png,²\n", "got '²'"),
        ("file,class_index\na.png,\n", "got ''"),
        ("file,class_index\n,3\n", "must have the name of an image"),
        ("file,class_index\n../a.png,3\n", "line 2 must have an image inside the folder of the file"),
        ("file,class_index\nb/../../a.png,3\n", "inside the folder of the file"),
        ("file,class_index\n/etc/passwd,3\n", "inside the folder of the file"),
        ("file,class_index\na.png,3\n./a.png,3\n", "line 3 must differ from line 2"),
        ("file,class_index,class_name\na.png,3,cat\nb.png,3,dog\n", 'must have the class_name "cat" for class 3'),
        (HEAD + "a.png,3,nan,1,20,20\n", "0 ≤ x0 < x1"),
        (HEAD + "a.png,3,1,1,inf,20\n", "0 ≤ x0 < x1"),
        (HEAD + "a.png,3,-5,1,20,20\n", "0 ≤ x0 < x1"),
        (HEAD + "a.png,3,20,1,2,20\n", "0 ≤ x0 < x1"),
        (HEAD + "a.png,3,1,1,20\n", "the numbers x0, y0, x1 and y1"),
        (HEAD + "a.png,3,1,one,20,20\n", "the numbers x0, y0, x1 and y1, got '1', 'one'"),
        (HEAD + "a.png,3,1,1,20,20\na.png,4,,,,\n", "line 3 must have a box, because other lines"),
        (HEAD + "a.png,3,1,1,20,20\na.png,3,1,1,20,20\n", "line 3 must differ from line 2"),
        ("file,class_index,difficult\na.png,3,yes\n", "0 or 1 for difficult"),
    ],
)
def test_odd_labels_end_in_one_line(tmp_path, capsys, text, words):
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert main(["evaluate", "--model", MODEL, "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert words in said


def test_boxes_outside_of_the_picture_end_in_one_line_and_rounding_does_not(tmp_path):
    picture(tmp_path / "a.png", (90, 70), (10, 10, 40, 40))
    (tmp_path / "labels.csv").write_text(f"\ufeff{HEAD}a.png,3,-0.5,0,90.5,70\n", encoding="utf-8")
    assert open_folder(tmp_path, WHOLE)[0][1]["boxes"].tolist() == [[0, 0, 224, 224]]
    (tmp_path / "labels.csv").write_text(f"{HEAD}a.png,3,10,10,70,90\n")
    with pytest.raises(
        cc.CAMError, match=r"in pixels of .*a\.png, which is 90×70 as viewers show it, got 10, 10, 70, 90"
    ):
        open_folder(tmp_path, WHOLE)[0]
    (tmp_path / "labels.csv").write_bytes("file,class_index\na.png,3\n".encode("utf-16"))
    with pytest.raises(cc.CAMError, match="comma-separated values in UTF-8"):
        open_folder(tmp_path, WHOLE)


def test_labels_of_other_classes_are_refused(tmp_path, capsys):
    model = ["tench", "great grey owl", "crane bird", "indigo bunting"]
    for fine in (
        None,
        [],
        ["Tench", "great_grey owl", "Crane", "Indigo Bunting"],
        {3: "indigo bunting", 0: "sea bass"},
    ):
        check_class_names(fine, model, 4)
    check_class_names([("tench", "Tinca tinca"), ("great gray owl", "great grey owl"), "0", "n01440764"], model, 4)
    check_class_names(["n01440764"] * 4, model, 4)
    for wrong, words in (
        ({3: "person", 0: "aeroplane"}, 'class 3 is "person" in the data and "indigo bunting" in the model'),
        (["indigo bunting", "great grey owl", "crane bird", "tench"], 'class 0 is "indigo bunting" in the data'),
        (["a"] * 20, "the data has 20 classes and the model has 4"),
        ({4: "tench"}, "must be 0 to 3, as in the model, but the data has a class 4"),
    ):
        with pytest.raises(cc.CAMError) as caught:
            check_class_names(wrong, model, 4)
        assert words in str(caught.value)
    picture(tmp_path / "a.png", (90, 70), (10, 10, 40, 40))
    (tmp_path / "labels.csv").write_text("file,class_index,class_name,x0,y0,x1,y1\na.png,14,person,1,1,9,9\n")
    typed = ["evaluate", "--model", MODEL, "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*typed, "--metrics", "energy"]) == 2  # of the predicted class, which the boxes do not name
    assert "must be 0 to 3, as in the model, but the data has a class 14" in capsys.readouterr().err
    assert main([*typed, "--metrics", "complexity"]) == 0  # the labels have no part in it


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_with_harmless_values_load_and_harmful_ones_do_not(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    weights = {"weight": torch.rand(2, 3)}
    beside = {
        "path": [pathlib.Path("a/b"), pathlib.PurePosixPath("c"), pathlib.PureWindowsPath("d")],
        "arguments": argparse.Namespace(lr=0.1, out=pathlib.Path("x")),
        "numbers": [np.float64(0.5), np.float32(1), np.int64(3), np.bool_(True), np.str_("a"), np.arange(3)],
        "others": [collections.defaultdict(list), datetime.datetime.now(), slice(1, 2), {1, 2}, 1j],
    }
    torch.save({"state_dict": weights} | beside, "fine.pt", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_state("fine.pt")["weight"], weights["weight"])
    for held in (Harm(), [Harm()], torch.nn.Linear(2, 2)):
        torch.save({"state_dict": weights, "held": held}, "bad.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            cc.CAMError, match=r"bad\.pt holds [\w.]+, which may run code .* save only model\.state_dict"
        ) as said:
            read_state("bad.pt")
        assert "\n" not in str(said.value)
    assert not (tmp_path / "harm").exists()
    torch.save([1], "list.pt")
    with pytest.raises(cc.CAMError, match="must be a state dict"):
        read_state("list.pt")
