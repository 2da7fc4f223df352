"""Guided CAMs, against guided backpropagation written out and Captum's."""

import warnings

import pytest
import torch
from captum.attr import GuidedBackprop
from torch import Tensor, nn

import captum_cams as cc
from captum_cams.images import upsample
from tests.support.networks import NETWORKS, images

BASES = ("gradcam", "layercam", "fdcam")


class Scores(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, output):
        return self.function(output)


class Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient.relu() * (x > 0)


class GuidedReLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Guided.apply(x)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("inplace", [False, True])
def test_guided_cam_is_the_map_times_guided_gradients(base, inplace):
    model, x = NETWORKS["batch norm"](), images(2).requires_grad_()
    for i, layer in enumerate(model.features):
        if isinstance(layer, nn.ReLU):
            model.features[i] = nn.ReLU(inplace)
    found = cc.GuidedCAM(model, base=base).contributions(x, [1, 7])
    maps = upsample(cc.create(base, model).attribute(x, [1, 7]), x.shape[2:])
    for part in (model.features, model.classifier):
        for i, layer in enumerate(part):
            if isinstance(layer, nn.ReLU):
                part[i] = GuidedReLU()
    score = model(x)[[0, 1], [1, 7]].sum()
    (gradient,) = torch.autograd.grad(score, x)
    torch.testing.assert_close(found, maps * gradient)


@pytest.mark.parametrize("target", [[1, 7], lambda output: output[:, 3]])
def test_guided_backpropagation_is_captums(target):
    model, x = NETWORKS["plain"](), images(2)
    cam = cc.GuidedCAM(model, base="gradcam")
    maps = upsample(cam.base.attribute(x, target), x.shape[2:])
    scores = nn.Sequential(model, Scores(target)) if callable(target) else model
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
        expected = GuidedBackprop(scores).attribute(x.clone().requires_grad_(), None if callable(target) else target)
    found = cam.contributions(x, target)
    torch.testing.assert_close(found, maps * expected.detach(), rtol=0, atol=1e-6 * float(found.abs().max()))


def test_guided_cam_says_that_it_cannot_hook_a_function():
    with pytest.raises(cc.CAMError, match=r"called as a function in TinyRes; replace it by nn\.ReLU"):
        cc.GuidedCAM(NETWORKS["residual"]()).attribute(images(1))
    model = NETWORKS["plain"]()
    with pytest.raises(cc.CAMError, match="pass the module"):
        cc.GuidedCAM(lambda x: model(x), layer=model.features[10]).attribute(images(1))


def test_a_network_without_relus_has_nothing_to_guide():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    with pytest.raises(cc.CAMError, match=r"needs a network with ReLUs.* got one without nn\.ReLU; use the base alone"):
        cc.GuidedCAM(model, "0").attribute(torch.rand(2, 3, 16, 16), 1)
