"""Options of the perturbation methods, LIFT-CAM, LRP-CAM and RISE against loops from their papers."""

import math

import pytest
import torch

import captum_cams as cc
from tests.support.formulas import LAYERS, gradient, scorecam
from tests.support.networks import NETWORKS, images


@pytest.mark.parametrize("net", ["plain", "residual", "functional ReLU"])
@pytest.mark.parametrize(
    ("options", "loop"),
    [
        ({"score": "probability"}, {"probability": True}),
        ({"score": "probability", "softmax": False}, {"probability": True, "softmax": False}),
    ],
)
def test_options_of_scorecam_are_their_formulas(net, options, loop):
    model, x, layer = NETWORKS[net](), images(1), LAYERS[net]
    found = cc.ScoreCAM(model, layer, **options).attribute(x, 6, relu_attributions=False)[0, 0]
    a, _ = gradient(model, layer, x[0], 6)
    torch.testing.assert_close(found, scorecam(a, None, model, x[0], 6, **loop).float(), rtol=1e-4, atol=1e-6)


def test_iscam_and_sscam_are_averages_over_their_masks():
    model, x, layer = NETWORKS["residual"](), images(1), LAYERS["residual"]
    a, _ = gradient(model, layer, x[0], 6)
    found = cc.ISCAM(model, layer, steps=4).attribute(x, 6)[0, 0]
    expected = scorecam(a, None, model, x[0], 6, factors=(0.25, 0.5, 0.75, 1.0)).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    cam = cc.SSCAM(model, layer, samples=3, sigma=0.5)
    channels, one = torch.arange(32), torch.zeros(32, 1, *x.shape[-2:])
    noise = [cam.noise(one, channels, i)[:, 0] for i in range(3)]
    assert 0.49 < float(torch.stack(noise).std()) < 0.51
    expected = scorecam(a, None, model, x[0], 6, noise=noise, factors=(1.0, 1.0, 1.0)).float()
    torch.testing.assert_close(cam.attribute(x, 6)[0, 0], expected, rtol=1e-4, atol=1e-6)


def test_rise_is_its_sum_over_masks():
    from captum_cams.methods.rise import _masks

    model, x = NETWORKS["residual"](), images(1)
    found = cc.RISE(model, masks=30, grid=5, keep=0.4, seed=3, perturbations_per_eval=7).attribute(x, 6)[0, 0]
    generator = torch.Generator().manual_seed(3)
    grids = (torch.rand(30, 1, 5, 5, generator=generator) < 0.4).float()
    masks = _masks(grids, torch.rand(30, 2, generator=generator), x.shape[-2:])
    assert abs(float(masks.mean()) - float(grids.mean())) < 0.05
    with torch.no_grad():
        expected = sum(float(model(x * m)[0].softmax(0)[6]) * m[0] for m in masks) / (30 * 0.4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["liftcam", "lrpcam"])
@pytest.mark.parametrize("net", ["residual", "dense"])
def test_lift_and_lrp_of_an_affine_tail_are_gradient_times_activation(name, net):
    model, x, layer = NETWORKS[net](), images(2), LAYERS[net]
    cam = cc.create(name, model, layer)
    found = cam.attribute(x, [3, 7], relu_attributions=False)[:, 0]
    for n, c in enumerate((3, 7)):
        a, g = gradient(model, layer, x[n], c)
        expected = sum((a[k] * g[k]).sum() * a[k] for k in range(len(a))).float()
        torch.testing.assert_close(found[n], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("net", ["plain", "batch norm"])
def test_liftcam_is_the_rescale_rule_and_complete(net):
    """DeepLIFT by hand on the VGG's head; its contributions add up to the change of the score."""
    model, x, layer = NETWORKS[net](), images(1), LAYERS[net]
    weights = []
    cam = cc.LIFTCAM(model, layer)
    inner = cam.weights
    cam.weights = lambda seen: weights.append(inner(seen)) or weights[0]
    cam.attribute(x, 6)
    a, _ = gradient(model, layer, x[0], 6)
    linear = [m for m in model.classifier if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        pooled = model.avgpool(a[None].float()).flatten(1)
        pre = [(linear[0](pooled), linear[0](torch.zeros_like(pooled)))]
        pre.append(tuple(linear[1](v.relu()) for v in pre[0]))
        scores = [float(linear[2](v.relu())[0, 6]) for v in pre[1]]
        multiplier = linear[2].weight[6]
        for (high, low), lower in zip(reversed(pre), reversed(linear[:2]), strict=True):
            change = high[0] - low[0]
            rescale = torch.where(change.abs() > 1e-7, (high[0].relu() - low[0].relu()) / change, (high[0] > 0).float())
            multiplier = (multiplier * rescale) @ lower.weight
        expected = (multiplier * pooled[0]).view(len(a), -1).sum(1)
    torch.testing.assert_close(weights[0][0], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
    assert math.isclose(float(weights[0].sum()), scores[0] - scores[1], rel_tol=1e-3)


def test_lrpcam_is_the_epsilon_rule():
    model, x, layer, epsilon = NETWORKS["plain"](), images(1), LAYERS["plain"], 0.05
    weights = []
    cam = cc.LRPCAM(model, layer, epsilon=epsilon)
    inner = cam.weights
    cam.weights = lambda seen: weights.append(inner(seen)) or weights[0]
    cam.attribute(x, 6)
    a, _ = gradient(model, layer, x[0], 6)
    linear = [m for m in model.classifier if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        inputs = [model.avgpool(a[None].float()).flatten(1)[0]]
        for module in linear[:2]:
            inputs.append(module(inputs[-1]).relu())
        relevance = torch.zeros(10)
        relevance[6] = linear[2](inputs[2])[6]
        for module, source in zip(reversed(linear), reversed(inputs), strict=True):
            z = module(source)
            relevance = source * (module.weight.T @ (relevance / (z + epsilon * z.sign())))
        expected = relevance.view(len(a), -1).sum(1)  # average pooling hands relevance on in proportion
    torch.testing.assert_close(weights[0][0], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
