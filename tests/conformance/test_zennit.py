"""zennit's ZPlus and ZBox composite from PyPI on plain networks."""

import pytest
import torch
from torch import nn

import captum_cams as cc
from captum_cams.wrappers.fgcam import denoise
from tests.support.networks import NETWORKS, TinyVGG, images, seeded

zennit = pytest.importorskip("zennit", reason="pip install '.[conformance]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peer's own


def composite(low: float, high: float, inner: bool):
    from zennit.composites import SpecialFirstLayerMapComposite
    from zennit.rules import Norm, Pass, ZBox, ZPlus
    from zennit.types import Activation, AvgPool, Convolution, Linear

    tiny = {"stabilizer": 1e-12}
    layers = [
        (Activation, Pass()),
        (nn.MaxPool2d, Norm(**tiny)),
        (AvgPool, Norm(**tiny)),
        (nn.Dropout, Pass()),
        (Convolution, ZPlus(zero_params="bias", **tiny)),
        (Linear, ZPlus(zero_params="bias", **tiny)),
    ]
    first = [(Convolution, ZBox(low=low, high=high, zero_params="bias", **tiny))]
    return SpecialFirstLayerMapComposite(layers, [] if inner else first)


@pytest.mark.parametrize("net", ["plain", "without bias"])
@pytest.mark.parametrize("relevance", ["lrp", "sglrp"])
def test_the_engine_is_zennits_composite(net, relevance):
    model = NETWORKS["plain"]() if net == "plain" else seeded(lambda: TinyVGG(batch_norm=False))
    if net == "without bias":
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.bias = None
    model, x = model.double(), images(2).double().clamp(-2, 2)
    logits = model(x).detach()
    chosen = torch.nn.functional.one_hot(logits.argmax(1), 10).bool()
    p = logits.softmax(1)
    start = {"lrp": logits * chosen, "sglrp": p[chosen][:, None] * (chosen.double() - p)}[relevance]
    given = x.clone().requires_grad_()
    with composite(-2.0, 2.0, inner=False).context(model) as hooked:
        output = hooked(given)
        (expected,) = torch.autograd.grad(output, given, start)
    found = cc.create(relevance, model, pixel_range=(-2.0, 2.0)).contributions(x)
    assert float((found - expected).abs().max()) <= 1e-6 * float(expected.abs().max())


@pytest.mark.parametrize("denoising", [False, True])
def test_fgcam_is_zennits_composite_below_the_layer(denoising):
    model, x = NETWORKS["plain"]().double(), images(2).double().clamp(-2, 2)
    components = cc.GradCAM(model).contributions(x, 3)
    components = denoise(components) if denoising else components
    given = x.clone().requires_grad_()
    with composite(-2.0, 2.0, inner=False).context(model.features) as hooked:
        (expected,) = torch.autograd.grad(hooked(given), given, components)
    cam = cc.FGCAM(model, denoising=denoising, pixel_range=(-2.0, 2.0))
    found = cam.contributions(x, 3)
    assert float((found - expected).abs().max()) <= 1e-6 * float(expected.abs().max())
