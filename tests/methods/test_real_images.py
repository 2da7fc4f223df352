"""Trained SqueezeNet weights on real photographs; runs where CAPTUM_CAMS_DATA names the folder."""

import csv

import pytest
import torch
from PIL import Image

import captum_cams as cc
from captum_cams.images import minmax, upsample
from captum_cams.metrics import average_drop, average_increase, curve_area, deletion_curve, insertion_curve
from tests.support.photographs import PREPROCESS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def boxed(data):
    """Whole images at 224×224, their class, and a mask of their boxes."""
    images, labels, masks = {}, {}, {}
    with open(data / "imagenet_boxes" / "labels.csv", newline="") as file:
        for row in csv.DictReader(file):
            with Image.open(data / "imagenet_boxes" / row["file"]) as file_:
                picture = file_.convert("RGB")
            images[row["file"]] = PREPROCESS(picture.resize((224, 224)))
            labels[row["file"]] = int(row["class_index"])
            mask = masks.setdefault(row["file"], torch.zeros(224, 224))
            sx, sy = 224 / picture.width, 224 / picture.height
            x0, y0, x1, y1 = (int(row[k]) for k in ("x0", "y0", "x1", "y1"))
            mask[round(y0 * sy) : round(y1 * sy), round(x0 * sx) : round(x1 * sx)] = 1
    return (
        torch.stack(list(images.values())),
        torch.tensor(list(labels.values())),
        torch.stack(list(masks.values())),
    )


@pytest.mark.parametrize("name", ["cam", "gradcam", "gradcamplusplus", "xgradcam", "layercam", "hirescam", "fdcam"])
def test_the_objects_are_lit(squeezenet, boxed, name):
    """The energy of the map inside the boxes exceeds the boxes' share of the image."""
    images, labels, masks = (of[:12] if name == "fdcam" else of for of in boxed)  # FD-CAM takes seconds an image
    cam = cc.create(name, squeezenet)
    heat = minmax(upsample(cam.attribute(images, labels, relu_attributions=True), (224, 224)))[:, 0]
    assert cam.layer is squeezenet.features[12]
    inside = (heat * masks).sum((1, 2)) / heat.sum((1, 2)).clamp(min=1e-9)
    assert inside.mean() > masks.mean() + 0.1


def test_explanations_are_more_faithful_than_chance(squeezenet, boxed):
    images, labels, _ = boxed
    images, labels = images[:8], labels[:8]
    random = torch.rand(8, 1, 13, 13, generator=torch.Generator().manual_seed(0))
    over_all = {}
    for name, maps in {"random": random, "gradcam": cc.GradCAM(squeezenet).attribute(images, labels)}.items():
        insertion = curve_area(insertion_curve(squeezenet, images, maps, labels, preset="quick"))
        over_all[name] = (
            insertion - curve_area(deletion_curve(squeezenet, images, maps, labels, preset="quick"))
        ).mean()
    assert over_all["gradcam"] > over_all["random"] + 0.1


def test_average_drop_and_increase_can_be_gamed(squeezenet, boxed):
    """Hartley et al., BMVC 2021, section 4.3: 0.9 everywhere but a 0 and a 1 beats an explanation."""
    images, labels, _ = boxed
    constant = cc.create("constant", squeezenet).attribute(images, labels)
    maps = cc.GradCAM(squeezenet).attribute(images, labels)
    for measure, sign in ((average_drop, 1), (average_increase, -1)):
        real, gamed = (measure(squeezenet, images, one, labels).mean() for one in (maps, constant))
        assert sign * gamed < sign * real
        # The second experiment: a higher plateau is "better", though it explains less.
        high = maps.amax((-2, -1), keepdim=True) * (1 - 1e-4)
        grown = [measure(squeezenet, images, (maps * factor).minimum(high), labels).mean() for factor in (2, 5)]
        assert sign * grown[1] < sign * grown[0] < sign * real
