"""Images, maps and regions in a form that is not taken: the right map, or the recipe for the right form."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import captum_cams as cc
from captum_cams.metrics import InsertionAUC, PointingGame, deletion_curve, energy_inside, pointing_game
from captum_cams.visual import displayable, overlay, panel
from tests.support.explainers import explainer
from tests.support.networks import NETWORKS, images
from tests.support.refusals import said


@pytest.fixture(scope="module")
def model():
    return NETWORKS["residual"]()


class Taking(nn.Module):
    """A network that takes its images in a form of its own."""

    def __init__(self, network, prepare):
        super().__init__()
        self.network, self.prepare = network, prepare

    def forward(self, x):
        return self.network(self.prepare(x))


IMAGES = {
    "a picture": (lambda: Image.new("RGB", (40, 40)), 'transform(image.convert("RGB")).unsqueeze(0)'),
    "a path": (lambda: "fox.jpg", "Image.open"),
    "an array of pixels": (lambda: np.zeros((40, 40, 3), np.uint8), "Image.fromarray"),
    "an array of images": (lambda: np.zeros((2, 3, 40, 40), np.float32), "torch.from_numpy(inputs)"),
    "a list of images": (lambda: list(images()), "torch.stack(inputs)"),
    "a batch of a loader": (lambda: [images(), torch.zeros(3)], "(images, labels)"),
    "a dictionary": (lambda: {"pixel_values": images()}, 'inputs["pixel_values"]'),
    "nothing": (lambda: None, "got NoneType"),
    "an image and a picture": (lambda: (images(), Image.new("RGB", (40, 40))), "unsqueeze(0)"),
    "the target first": (lambda: 3, "attribute(images, target)"),
    "an empty tuple": (tuple, "at least one"),
    "grey": (lambda: images()[:, :1], "expand(-1, 3, -1, -1)"),
    "four channels": (lambda: torch.rand(2, 4, 40, 40), "[:, :3]"),
    "two channels": (lambda: torch.rand(2, 2, 40, 40), "takes 3 channels, got 2"),
    "channels last": (lambda: images().permute(0, 2, 3, 1), "permute(0, 3, 1, 2)"),
    "bytes": (lambda: torch.zeros(2, 3, 40, 40, dtype=torch.uint8), "inputs.float() / 255"),
    "half precision": (lambda: images().half(), "inputs.float()"),
    "double precision": (lambda: images().double(), "inputs.float()"),
}
METHODS = ("gradcam", "scorecam", "lrp", "fgcam", "multilayercam", "jittercam")


@pytest.mark.parametrize("name", IMAGES)
def test_images_in_a_form_that_the_network_does_not_take(model, name):
    make_images, words = IMAGES[name]
    for method in METHODS:
        assert words in said(explainer(method, model).attribute, make_images(), 1)
    assert words in said(explainer("guidedcam", NETWORKS["plain"]()).attribute, make_images(), 1)
    assert words in said(cc.GradCAM(model).heatmap, make_images(), 1)


def test_images_of_another_precision_than_the_network():
    for dtype, words in ((torch.half, ".half()"), (torch.bfloat16, ".bfloat16()"), (torch.double, ".double()")):
        assert f"inputs{words}" in said(cc.GradCAM(NETWORKS["residual"]().to(dtype)).attribute, images(), 1)


def test_images_of_another_size_than_the_linear_layer_takes():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    assert "3×3×40×40" in said(cc.GradCAM(network).attribute, images(3), 1)


def test_labels_that_are_taken_for_a_second_input(model):
    assert "(images, labels)" in said(cc.GradCAM(model).attribute, (images(3), torch.zeros(3)), 1)
    assert "third parameter" in said(cc.GradCAM(model).attribute, images(3), 1, False)
    assert "takes inputs N×C×H×W" in said(cc.GradCAM(model, "layer4").attribute, torch.rand(2, 3, 4, 40, 40), 1)


def test_three_channels_for_a_network_of_grey_images():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert "mean(1, keepdim=True)" in said(cc.GradCAM(network.eval()).attribute, images(), 1)


def test_networks_that_take_such_images_are_explained(model):
    for prepare, given in (
        (lambda x: x.expand(-1, 3, -1, -1), images()[:, :1]),
        (lambda x: x.permute(0, 3, 1, 2), images().permute(0, 2, 3, 1)),
        (lambda x: x.float() / 255, (images() * 50).clamp(0, 255).byte()),
        (lambda x: x.float(), images().half()),
    ):
        expected = cc.GradCAM(model, "layer4").attribute(prepare(given), 1)
        found = cc.GradCAM(Taking(model, prepare), "network.layer4").attribute(given, 1)
        assert torch.equal(found, expected)


def test_an_error_of_the_network_itself_is_handed_on():
    def broken(x):
        raise RuntimeError("a fault of my own")

    network = Taking(NETWORKS["residual"](), broken)
    with pytest.raises(RuntimeError, match="a fault of my own"):
        cc.GradCAM(network, "network.layer4").attribute(images())


def test_images_from_0_to_255_are_noticed_once():
    network, large = NETWORKS["residual"](), (images() * 100).clamp(0, 255)
    with pytest.warns(UserWarning, match=r"0…255.*normalise") as caught:
        explainer("jittercam", network).attribute(large)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer("lrp", network).attribute(large)
        cc.GradCAM(NETWORKS["residual"]()).attribute(images() * 100)  # normalised, then far away
        cc.GradCAM(NETWORKS["residual"]()).attribute(images().abs())


def test_an_odd_call_that_can_have_no_weak_reference_is_explained(model):
    class Slots:
        __slots__ = ()

        def __call__(self, x):
            return model(x)

    assert cc.GradCAM(Slots(), model.layer4).attribute(images()).shape[1] == 1


METRICS = {
    "arrays": (lambda m, x: deletion_curve(m, x.numpy(), torch.rand(3, 5, 5)), "torch.from_numpy(inputs)"),
    "maps of NumPy": (lambda m, x: deletion_curve(m, x, np.zeros((3, 5, 5))), "torch.from_numpy(maps)"),
    "one map": (lambda m, x: deletion_curve(m, x, torch.rand(5, 5)), "N×h×w"),
    "maps per channel": (lambda m, x: deletion_curve(m, x, torch.rand(3, 8, 5, 5)), "sum over the channels"),
    "one image": (lambda m, x: deletion_curve(m, x[0], torch.rand(1, 5, 5)), "N×C×H×W"),
    "images without channels": (
        lambda m, x: deletion_curve(m, x[:, 0], torch.rand(3, 5, 5)),
        "got 3×40×40 and 3×5×5",
    ),
    "maps of a volume": (lambda m, x: deletion_curve(m, x, torch.rand(3, 1, 2, 5, 5)), "maps must be N×h×w or N×1×h×w"),
    "the model last": (lambda m, x: deletion_curve(x, torch.rand(3, 5, 5), m), "model"),
    "an update": (lambda m, x: InsertionAUC().update(m, x, np.zeros((3, 5, 5))), "torch.from_numpy(maps)"),
    "an explainer for the model": (lambda m, x: deletion_curve(cc.GradCAM(m), x, torch.rand(3, 5, 5)), "model"),
    "grey": (lambda m, x: deletion_curve(m, x[:, :1], torch.rand(3, 5, 5)), "expand(-1, 3, -1, -1)"),
    "maps of an array": (
        lambda m, x: pointing_game(np.zeros((1, 5, 5)), [torch.tensor([[0, 0, 4, 4]])], (40, 40)),
        "maps",
    ),
    "boxes as lists": (lambda m, x: pointing_game(torch.rand(1, 5, 5), [[[0, 0, 4, 4]]], (40, 40)), "torch.tensor"),
    "boxes of NumPy": (
        lambda m, x: energy_inside(torch.rand(1, 5, 5), [np.zeros((1, 4))], (40, 40)),
        "torch.from_numpy",
    ),
    "one box": (lambda m, x: pointing_game(torch.rand(1, 5, 5), [torch.tensor([0, 0, 4, 4])], (40, 40)), "B×4"),
    "one size": (lambda m, x: PointingGame().update(torch.rand(1, 5, 5), [torch.tensor([[0, 0, 4, 4]])], 40), "size"),
    "regions alone": (lambda m, x: pointing_game(torch.rand(1, 5, 5), None, (40, 40)), "regions"),
    "a picture of an array": (lambda m, x: displayable(x.numpy()), "torch.from_numpy"),
    "an overlay of maps per channel": (lambda m, x: overlay(x, torch.rand(3, 2, 5, 5)), "in this order"),
    "an overlay the wrong way round": (lambda m, x: overlay(torch.rand(3, 5, 5), x), "in this order"),
    "a panel of a list": (lambda m, x: panel(x, [torch.rand(3, 5, 5)], ["a", "b", "c"]), "gradcam"),
    "too few captions": (lambda m, x: panel(x, {"a": torch.rand(3, 5, 5)}, ["a"]), "captions"),
    "an overlay of an array": (lambda m, x: overlay(x, np.zeros((3, 5, 5))), "torch.from_numpy"),
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_and_pictures_teach(model, name):
    action, words = METRICS[name]
    assert words in said(action, model, images(3))
