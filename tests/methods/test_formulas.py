"""Every method against a loop written from its paper."""

import math

import pytest
import torch
import torch.nn.functional as F

import captum_cams as cc
from tests.support.explainers import ANYWHERE, explainer
from tests.support.formulas import FORMULAS, LAYERS, fdcam, gradcam, gradient, run
from tests.support.networks import NETWORKS, images


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("net", NETWORKS)
def test_method_is_its_formula(name, net):
    model, x, layer = NETWORKS[net](), images(2), LAYERS[net]
    target = [3, 7]
    found = explainer(name, model, layer).attribute(x, target, relu_attributions=False)[:, 0]
    for n, c in enumerate(target):
        a, g = gradient(model, layer, x[n], c)
        expected = FORMULAS[name](a, g, model=model, layer=layer, x=x[n], c=c).float()
        torch.testing.assert_close(found[n], expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
        rectified = explainer(name, model, layer).attribute(x, target, relu_attributions=True)[n, 0]
        assert torch.equal(rectified, found[n].clamp(min=0))


@pytest.mark.parametrize("net", ["residual", "in-place ReLU"])
def test_gradcam_is_cam_over_the_number_of_positions(net):
    model, x = NETWORKS[net](), images(2)
    layer = {"residual": "layer4", "in-place ReLU": "bn"}[net]
    if net == "in-place ReLU":
        with pytest.raises(cc.CAMError, match="Grad-CAM"):
            cc.CAM(model, layer).attribute(x, 4)
        return
    cam = cc.CAM(model, layer).attribute(x, 4)
    expected = sum(model.fc.weight[4, k] * run(model, layer, x[1])[1][0, k] for k in range(32))
    torch.testing.assert_close(cam[1, 0], expected)
    gradcam = cc.GradCAM(model, layer).attribute(x, 4)
    torch.testing.assert_close(gradcam, cam.relu() / cam[0].numel(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("net", ["plain", "residual", "in-place ReLU"])
@pytest.mark.parametrize(
    ("options", "loop"),
    [
        ({"score": "probability"}, {"probability": True}),
        ({"percentile": 25.0}, {"q": 0.75}),
        ({"bias": 0.2}, {"combine": lambda alpha, s: alpha * math.exp(s) - 0.2}),
        ({"combine": "exponential"}, {"combine": lambda alpha, s: alpha * math.exp(s)}),
        ({"combine": "product"}, {"combine": lambda alpha, s: alpha * s}),
    ],
)
def test_options_of_fdcam_are_their_formulas(net, options, loop):
    model, x, layer = NETWORKS[net](), images(1), LAYERS[net]
    found = cc.FDCAM(model, layer, **options).attribute(x, 6, relu_attributions=False)[0, 0]
    a, g = gradient(model, layer, x[0], 6)
    expected = fdcam(a, g, model, layer, x[0], 6, **loop).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


class Skip(torch.nn.Module):
    """A layer that hands its input on, with a connection around it."""

    def __init__(self):
        super().__init__()
        self.layer, self.conv, self.fc = torch.nn.Identity(), torch.nn.Conv2d(3, 3, 3, 1, 1), torch.nn.Linear(3, 4)

    def forward(self, x):
        x = x * 1.0
        return self.fc((x + self.conv(self.layer(x))).mean((2, 3)))


def test_the_gradient_is_that_of_the_layers_output_alone():
    torch.manual_seed(0)
    model, x = Skip().eval(), images(1)
    found = cc.GradCAM(model, "layer").attribute(x, 2, relu_attributions=False)[0, 0]
    a = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model.fc((x + model.conv(a)).mean((2, 3)))[0, 2], a)
    torch.testing.assert_close(found, gradcam(x[0], g[0]))


class ConvolutionalHead(torch.nn.Module):
    """SqueezeNet's head: a 1×1 convolution, a ReLU, then pooling."""

    def __init__(self):
        super().__init__()
        self.features, self.drop = torch.nn.Conv2d(3, 6, 3), torch.nn.Dropout()
        self.classifier = torch.nn.Conv2d(6, 10, 1)

    def forward(self, x):
        return F.relu(self.classifier(self.drop(F.relu(self.features(x))))).mean((2, 3))


def test_cam_takes_a_convolution_before_the_pooling_as_the_classifier():
    torch.manual_seed(0)
    net = ConvolutionalHead().eval()
    model = torch.nn.Sequential(net.features, torch.nn.ReLU(), net.classifier, torch.nn.ReLU()).eval()
    pooled = torch.nn.Sequential(model, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    x = images(2)
    cam = cc.CAM(pooled)
    found = cam.attribute(x, 4)
    assert cam.layer is model[1]
    expected = net.classifier(model[:2](x))[:, 4] - net.classifier.bias[4]
    torch.testing.assert_close(found[:, 0], expected)


def test_a_constant_map_becomes_zeros_and_dead_channels_do_no_harm():
    model, x = NETWORKS["residual"](), images(2)
    with torch.no_grad():
        model.layer4[0].bn2.weight[5] = 0
        model.layer4[0].bn2.bias[5] = -10
        model.layer4[0].downsample[1].weight[5] = 0
        model.layer4[0].downsample[1].bias[5] = -10
    for name in ANYWHERE:
        assert torch.isfinite(explainer(name, model).attribute(x, 1)).all()
    with torch.no_grad():
        model.fc.weight.zero_()
    for name in ANYWHERE:
        heat = explainer(name, model).heatmap(x, 1)
        assert torch.isfinite(heat).all()
        assert heat.min() >= 0
        assert heat.max() <= 1
    assert not cc.GradCAM(model).heatmap(x, 1).any()
