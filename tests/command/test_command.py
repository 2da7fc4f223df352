"""What a user types, and what is said when it is wrong."""

import os
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import captum_cams as cc
from captum_cams import visual
from lightning_callbacks.command.main import main
from lightning_callbacks.command.models import load_model
from lightning_callbacks.command.typed import TYPED
from lightning_callbacks.command.words import class_index

MODEL = "tests.support.evaluation_run:network"


@pytest.fixture
def image(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_explain_writes_the_panel(image, tmp_path, capsys):
    out = tmp_path / "cams"
    assert main(["explain", str(image), "--model", MODEL, "--methods", "fdcam", "gradcam", "--out", str(out)]) == 0
    loaded = load_model(MODEL)
    inputs = loaded.transform(whole=False)(Image.open(image))[None]
    with torch.no_grad():
        scores = loaded.network(inputs).softmax(1)[0]
    maps = {name: cc.create(name, loaded.network).attribute(inputs) for name in ("fdcam", "gradcam")}
    caption = f"predicted class {int(scores.argmax())}, p = {float(scores.max()):.2f}"
    expected = visual.panel(inputs, maps, [caption], mean=loaded.mean, std=loaded.std)
    assert np.array_equal(np.asarray(Image.open(out / "noise.png")), expected)
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"{out / 'noise.png'}: {caption}"
    assert re.fullmatch(rf"1 picture in {out}: FD-CAM, Grad-CAM of {MODEL}, \S+ s for each image", last)


def test_explain_takes_a_class(image, tmp_path, capsys):
    assert main(["explain", str(image), "--model", MODEL, "--target", "2", "--out", str(tmp_path / "out")]) == 0
    assert re.search(": (predicted )?class 2, p = ", capsys.readouterr().out)


def test_explain_takes_several_classes_before_the_image(image, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["explain", "--model", MODEL, "--target", "2", "0", "2", str(image), "--out", str(out), "--html"]) == 0
    said = capsys.readouterr().out
    assert re.search("class 2, p = .*; (predicted )?class 0, p = ", said)
    assert "1 picture and explained.html in" in said
    loaded = load_model(MODEL)
    inputs = loaded.transform(whole=False)(Image.open(image))[None]
    maps = cc.GradCAM(loaded.network).attribute(inputs.repeat(2, 1, 1, 1), torch.tensor([2, 0]))
    captions = re.search(r"noise.png: (.+); (.+)", said).groups()
    expected = visual.panel(inputs.repeat(2, 1, 1, 1), {"gradcam": maps}, captions, mean=loaded.mean, std=loaded.std)
    assert np.array_equal(np.asarray(Image.open(out / "noise.png")), expected)


def test_evaluate_prints_the_table_and_goes_on(image, tmp_path, capsys):
    typed = ["evaluate", "--model", MODEL, "--data", str(image.parent), "--out", str(tmp_path / "out")]
    typed += ["--methods", "centre", "fgcam(gradcam)", "--metrics", "complexity", "average_drop"]
    assert main(typed) == 0
    first = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" |")[0] for line in first[2:]] == ["| centre", "| fgcam(gradcam)"]
    assert main([*typed[:-6], "--methods", "centre,fgcam(gradcam)", "--metrics", "complexity,average_drop"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")] == first


def test_methods_prints_a_head_one_line_each_and_a_legend(capsys):
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["method", "paper", "forward", "passes", "per", "image"]
    lines, legend = lines[1:-4], " ".join(lines[-4:])
    assert [line.split()[0] for line in lines] == cc.names()
    assert all(f"{word}:" in legend for word in ("K", "P", "L", "gradient", "base", "behind the layer"))
    assert all(re.search(r"  .+ (19|20)\d\d  .+", line) for line in lines)
    assert "Selvaraju et al., ICCV 2017" in next(line for line in lines if line.startswith("gradcam "))


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["methods", "--all"], 'unknown argument "--all"; captum-cams methods --help lists the arguments'),
        (["explain", "IMAGE", "--model=MODEL", "--metod=fdcam"], 'did you mean "--methods" or "--model"?'),
        (["explain", "IMAGE", "--mod", MODEL], "required: --model"),
        (
            ["explode"],
            "invalid choice: 'explode' (choose from 'explain', 'evaluate', 'merge', ",
        ),
        (["explain", "IMAGE"], "required: --model"),
        (["explain", "--model", MODEL], "there must be at least one image"),
        (["explain", "IMAGE", "--model", MODEL, "--methods", "fdcan"], 'unknown CAM "fdcan"; did you mean "fdcam"'),
        (["explain", "IMAGE", "--model", MODEL, "--target", "9"], "target must be a class from 0 to 3, got 9"),
        (["explain", "none.png", "--model", MODEL], "No such file"),
        (["explain", "FOLDER/nose.png", "--model", MODEL], 'did you mean "noise.png"?'),
        (["explain", "--model", MODEL, "--methods", "gradcam", "nose.png"], "No such file or folder: nose.png"),
        (["explain", "FOLDER/*.gif", "--model", MODEL], "must have images"),
        (["explain", "EMPTY", "--model", MODEL], "must have images"),
        (["explain", "IMAGE", "--model", MODEL, "--target", "fox"], 'the model has no class names, got "fox"'),
        (["explain", "IMAGE", "--model", MODEL, "--target", "-1"], "target must be a class from 0 to 3, got -1"),
        (["explain", "IMAGE", "--model", MODEL, "--layer", "network.2"], 'did you mean "2"?'),
        (
            ["explain", "IMAGE", "--model", MODEL, "--method", "gradcam"],
            'unknown argument "--method"; did you mean "--methods"?',
        ),
        (["explain", "IMAGE", "--model", MODEL, "--methods", "gradcam", "gradcam"], "a name of its own"),
        (
            ["explain", "IMAGE", "--model", MODEL, "--methods", "gradcam", "--methods=fdcam"],
            "--methods must be given once, got it 2 times; write all its values after it",
        ),
        (["evaluate", "--model", MODEL, "--data", "FOLDER", "--batch-size", "2"], 'did you mean "--batch_size"?'),
        (["explain", "IMAGE", "--model", "resnet5"], 'did you mean "resnet50"'),
        (["explain", "IMAGE", "--model", MODEL, "--layer", "nine"], "nine"),
        (["evaluate", "--model", MODEL, "--data", "none"], "found none of these"),
        (
            ["evaluate", "--model", MODEL, "--data", "FOLDER", "--protocol", "cam"],
            "there are default, training, ",
        ),
        (["evaluate", "--model", MODEL, "--data", "FOLDER", "--devices", "two"], "--devices: invalid int value: 'two'"),
        (
            ["evaluate", "--model", MODEL, "--data", "FOLDER", "--metrics", "auc"],
            'metric "auc"; there are deletion_auc',
        ),
        (["evaluate", "--model", MODEL, "--data", "FOLDER", "--colour", "red"], "--colour"),
        (["evaluate", "--model", MODEL, "--data", "FOLDER", "--precision", "abc"], "abc"),
        (["evaluate", "--model", MODEL, "--data", "FOLDER", "--devices", "0"], "0"),
        (["evaluate", "--model", MODEL, "--data", "FOLDER", "--batch_size", "0"], "batch_size"),
        (
            ["evaluate", "--model", MODEL, "--data", "FOLDER", "--protocol", "fdcam_discriminability"],
            "but no image has them",
        ),
        (["explain", "IMAGE", "--model", MODEL, "--checkpoint", "IMAGE"], "must be a state dict"),
    ],
)
def test_mistakes_take_one_line(image, tmp_path, monkeypatch, capsys, typed, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"IMAGE": str(image), "FOLDER": str(image.parent), "EMPTY": str(tmp_path / "empty")}

    def placed(word):
        first, slash, rest = word.partition("/")
        return places.get(first, first) + slash + rest

    assert main([placed(word) for word in typed]) == 2
    said = capsys.readouterr().err
    assert said.startswith("captum-cams: ")
    assert said.count("\n") == 1
    assert words in said


def test_the_images_of_a_half_precision_checkpoint_are_explained(image, tmp_path):
    state = {key: value.half() for key, value in load_model(MODEL).network.state_dict().items()}
    torch.save(state, tmp_path / "half.pt")
    typed = ["explain", str(image), "--model", MODEL, "--checkpoint", str(tmp_path / "half.pt")]
    assert main([*typed, "--out", str(tmp_path / "out")]) == 0


def test_pictures_do_not_overwrite_photographs_or_each_other(image, tmp_path, capsys):
    before = image.read_bytes()
    (tmp_path / "more").mkdir()
    second = tmp_path / "more" / image.name
    second.write_bytes(before)
    for typed in ([str(image), "--out", str(image.parent)], [str(image), str(second), "--out", str(tmp_path / "out")]):
        assert main(["explain", "--model", MODEL, *typed]) == 2
        assert "must have a name of its own" in capsys.readouterr().err
    assert image.read_bytes() == before


@pytest.mark.parametrize(
    "typed",
    [
        ["PHOTOS", "--methods", "gradcam", "centre"],
        ["PHOTOS/*.png", "--methods", "gradcam,centre"],
        ["--methods", "gradcam", "centre", "PHOTOS/a.png", "PHOTOS/b.png"],
        ["PHOTOS/a.png", "--methods", "gradcam", "centre", "PHOTOS/b.png"],
        ["--methods", "gradcam", "centre", "--whole", "PHOTOS/[ab].png"],
        ["PHOTOS/a.png", "--methods", "gradcam", "centre", "--whole", "PHOTOS/b.png"],
    ],
)
def test_images_in_folders_in_patterns_and_behind_methods(image, tmp_path, capsys, typed):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        (photos / name).write_bytes(image.read_bytes())
    (photos / "notes.txt").write_text("no image")
    out = tmp_path / "out"
    words = [word.replace("PHOTOS", str(photos)) for word in typed]
    assert main(["explain", "--model", MODEL, "--out", str(out), *words]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:-1]] == [
        str(out / "a.png"),
        str(out / "b.png"),
    ]
    with Image.open(out / "a.png") as panel:
        assert 3 * 224 < panel.width < 4 * 224  # the image, and a column for each of the two methods


def test_suggested_layers_work_when_typed(image, tmp_path, capsys):
    typed = ["explain", str(image), "--out", str(tmp_path / "out"), "--model", "tests.support.networks:seeded_residual"]
    assert main([*typed, "--layer", "layer4.0.conv3"]) == 2
    hints = re.findall(r'"([\w.]+)"', capsys.readouterr().err.split("did you mean")[1])
    assert "layer4.0.conv2" in hints
    for hint in hints:
        assert main([*typed, "--layer", hint]) == 0


def test_classes_by_name():
    names = ("kit fox", "red fox", "crane", "tench", "crane")
    assert class_index("Red Fox", names, 5) == 1
    assert class_index(4, names, 5) == 4
    for target, words in (
        ("fox", 'no class is called "fox"; there are "kit fox", "red fox"'),
        ("red foks", 'did you mean "red fox"?'),
        ("crane", "2, 4; pass one of these"),
        ("zzz", "pass an index from 0 to 4"),
        (5, "from 0 to 4, got 5"),
    ):
        with pytest.raises(cc.CAMError, match=re.escape(words)):
            class_index(target, names, 5)


def test_a_reader_that_has_read_enough_is_no_mistake(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", pipe)
        assert main(["methods"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", [*TYPED])
def test_the_usage_names_the_command_and_fits_a_terminal(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out
    assert said.startswith(f"usage: captum-cams {name}")
    assert all(len(line) < 80 for line in said.splitlines())


def test_the_version(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"captum-cams {cc.__version__}\n"
