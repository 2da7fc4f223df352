"""Data sets in the layouts that users have on disk, read with boxes that move with the image."""

import csv

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.datasets import ImageFolder

import captum_cams as cc
from lightning_callbacks.command.folders import VOC_CLASSES, collate, open_folder
from lightning_callbacks.command.models import load_model
from tests.support import evaluation_run
from tests.support.rectangles import WHOLE, lit, picture

CROPPED = load_model("tests.support.evaluation_run:network").transform(whole=False)


def xml(file, objects):
    file.parent.mkdir(parents=True, exist_ok=True)
    found = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, difficult, (x0, y0, x1, y1) in objects
    )
    file.write_text(f"<annotation>{found}</annotation>")


@pytest.mark.parametrize("transform", [WHOLE, CROPPED], ids=["whole", "cropped"])
@pytest.mark.parametrize("layout", ["csv", "voc", "imagenet"])
def test_boxes_move_with_the_image(tmp_path, layout, transform):
    size, box = (400, 300), (110, 60, 250, 200)
    if layout == "csv":
        picture(tmp_path / "a.png", size, box)
        (tmp_path / "labels.csv").write_text("file,class_index,x0,y0,x1,y1\na.png,4,110,60,250,200\n")
        label = 4
    elif layout == "voc":
        root = tmp_path / "VOCdevkit" / "VOC2007"
        picture(root / "JPEGImages" / "a.jpg", size, box)
        objects = [("dog", 0, (111, 61, 250, 200)), ("cat", 1, (1, 1, 9, 9))]  # counted from one, both ends in
        xml(root / "Annotations" / "a.xml", objects)
        (root / "ImageSets" / "Main").mkdir(parents=True)
        (root / "ImageSets" / "Main" / "val.txt").write_text("a\n")
        label = VOC_CLASSES.index("dog")
    else:
        picture(tmp_path / "val" / "n01440764" / "a.JPEG", (20, 20), (1, 1, 4, 4))
        picture(tmp_path / "val" / "n01443537" / "b.JPEG", size, box)
        xml(tmp_path / "Annotations" / "CLS-LOC" / "val" / "b.xml", [("n01443537", 0, box)])
        label = 1
    image, target = open_folder(tmp_path, transform)[-1 if layout != "imagenet" else 1]
    assert image.shape == (3, 224, 224)
    assert target["labels"].tolist() == [label]
    assert type(target["boxes"]) is torch.Tensor
    assert target["boxes"].shape == (1, 4)
    assert (target["boxes"][0] - torch.tensor(lit(image))).abs().max() <= 2


def test_a_box_that_is_cut_off_is_no_annotation(tmp_path):
    picture(tmp_path / "a.png", (600, 200), (0, 0, 30, 200))
    (tmp_path / "labels.csv").write_text(
        "file,class_index,x0,y0,x1,y1,difficult\na.png,4,0,0,30,200,0\na.png,5,0,0,600,200,0\na.png,6,0,0,99,99,1\n"
    )
    _, target = open_folder(tmp_path, CROPPED)[0]
    assert target["labels"].tolist() == [5]


def test_folders_without_boxes(tmp_path):
    for name, colour in (("bee/1.png", "yellow"), ("bee/2.png", "red"), ("ant/1.png", "black")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (30, 40), colour).save(tmp_path / name)
    classes = open_folder(tmp_path, WHOLE)
    images, targets = collate([classes[i] for i in range(3)])
    assert images.shape == (3, 3, 224, 224)
    assert [target["labels"].tolist() for target in targets] == [[label] for _, label in ImageFolder(tmp_path).samples]
    alone = open_folder(tmp_path / "bee", WHOLE)
    assert len(alone) == 2
    assert alone[0][1]["labels"].tolist() == []
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", "class_index"], ["ant/1.png", 3]])
    assert "boxes" not in open_folder(tmp_path, WHOLE)[0][1]
    with pytest.raises(cc.CAMError, match="a folder for each class, or images; found none"):
        open_folder(tmp_path / "none", WHOLE)


def test_models_by_name(tmp_path):
    loaded = load_model("tests.support.evaluation_run:network")
    assert not loaded.network.training
    state = {f"model.{key}": value + 1 for key, value in loaded.network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "lightning.ckpt")
    filled = load_model("tests.support.evaluation_run:network", tmp_path / "lightning.ckpt").network
    assert torch.equal(filled[0].weight, evaluation_run.network()[0].weight + 1)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    for name, checkpoint, words in (
        ("resnet5", None, 'unknown model "resnet5"; did you mean "resnet50"'),
        ("tests.support.evaluation_run:missing", None, "it raised AttributeError: module"),
        (
            "tests.support.evaluation_run:loader",
            None,
            "an nn.Module and a dict, got DataLoader",
        ),
        ("resnet18", tmp_path / "none.pt", "there is no file"),
        (
            "tests.support.evaluation_run:network",
            tmp_path / "other.pt",
            "the weights of the model, but it does not fit",
        ),
        ("raft_small", tmp_path / "other.pt", "the model must classify images"),
    ):
        with pytest.raises(cc.CAMError) as caught:
            load_model(name, checkpoint)
        assert words in str(caught.value)


def test_a_torchvision_model_brings_its_preparation_and_class_names(tmp_path):
    torch.save(models.efficientnet_b3().state_dict(), tmp_path / "weights.pt")
    loaded = load_model("efficientnet_b3", tmp_path / "weights.pt")
    assert (loaded.size, loaded.shorter) == (300, 320)
    assert loaded.class_names[0] == "tench"
