"""Half precision and autocast against float32, where scores are subtracted from each other."""

import copy

import pytest
import torch
import torchvision
from torch import nn

import captum_cams as cc
from captum_cams.methods.fdcam import cosine_similarity
from tests.support.networks import images, seeded


@pytest.fixture(scope="module")
def resnet():
    return seeded(lambda: torchvision.models.resnet50(weights=None))


@pytest.mark.parametrize("autocast", [False, True], ids=["bfloat16", "autocast"])
def test_ablationcam_in_half_precision_is_that_of_float32(resnet, autocast):
    x = images(1)
    target = resnet(x).argmax(1)
    expected = cc.AblationCAM(resnet, "layer4").attribute(x, target, relu_attributions=False)
    model, given = (resnet, x) if autocast else (copy.deepcopy(resnet).bfloat16(), x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = cc.AblationCAM(model, "layer4").attribute(given, target, relu_attributions=False)
    for one, other in zip(found.float(), expected, strict=True):
        assert (one - other).abs().max() < 0.02 * other.abs().max()


def test_the_model_alone_runs_under_autocast():
    seen = []

    class Watching(cc.FDCAM):
        def groups(self, activation):
            seen.append(cosine_similarity(activation).dtype)
            return super().groups(activation)

    class Net(nn.Sequential):
        def forward(self, x):
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(x)

    net = Net(nn.Conv2d(3, 6, 3), nn.Sigmoid(), nn.Conv2d(6, 5, 3), nn.Flatten(), nn.Linear(5 * 36 * 36, 4)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        Watching(net, net[1], perturbations_per_eval=4).attribute(images(2), 1)
        assert torch.is_autocast_enabled("cpu")
    assert seen.count(torch.float32) == 1
    assert seen.count(True) == len(seen) - 1 > 3
