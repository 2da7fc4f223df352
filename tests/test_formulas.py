"""Every method against a loop written from its paper, sample by sample, by full runs of the network."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import captum_cams as cc
from captum_cams.blur import blur
from tests.explainers import explainer
from tests.networks import NETWORKS, images

LAYERS = {
    "plain": "features.10",
    "batch norm": "features.14",
    "residual": "layer4",
    "dense": "norm",
    "functional ReLU": "conv2",
    "in-place ReLU": "bn",
}


def run(model, layer, x, replacement=None):
    """Logits of one image, the layer's output, and its gradient's source; optionally with another output there."""
    kept = []

    def hook(module, args, out):
        kept.append(out if replacement is None else replacement)
        return kept[-1].clone()

    handle = model.get_submodule(layer).register_forward_hook(hook)
    logits = model(x[None])
    handle.remove()
    return logits[0], kept[0]


def gradient(model, layer, x, c):
    logits, activation = run(model, layer, x)
    (g,) = torch.autograd.grad(logits[c], activation)
    return activation[0].detach().double(), g[0].double()


def gradcam(a, g, **_):
    return sum(g[k].mean() * a[k] for k in range(len(a)))


def gradcamplusplus(a, g, **_):
    total = torch.zeros_like(a[0])
    for k in range(len(a)):
        weight = 0.0
        for i in range(a.shape[1]):
            for j in range(a.shape[2]):
                d = g[k, i, j]
                denominator = 2 * d**2 + d**3 * a[k].sum()
                if denominator != 0:
                    weight += d**2 / denominator * max(d, 0)
        total += weight * a[k]
    return total


def xgradcam(a, g, **_):
    weights = [(a[k] * g[k]).sum() / a[k].sum() if a[k].sum() != 0 else 0 for k in range(len(a))]
    return sum(w * a[k] for k, w in enumerate(weights))


def layercam(a, g, **_):
    return sum(g[k].clamp(min=0) * a[k] for k in range(len(a)))


def hirescam(a, g, **_):
    return sum(g[k] * a[k] for k in range(len(a)))


def fdcam(a, g, model, layer, x, c, q=0.95, probability=False, combine=lambda alpha, s: alpha * math.exp(s) - 0.5):
    def score(activation):
        with torch.no_grad():
            logits = run(model, layer, x, activation)[0]
        return float(logits.softmax(0)[c] if probability else logits[c])

    channels = len(a)
    on_scores, off_scores = [], []
    y = score(a[None].float())
    rows = [a[k].flatten().numpy() for k in range(channels)]
    for k in range(channels):
        cos = []
        for other in range(channels):
            norm = np.linalg.norm(rows[k]) * np.linalg.norm(rows[other])
            cos.append(rows[k] @ rows[other] / norm if norm > 0 else 0.0)
        group = np.array(cos) > np.quantile(cos, q)
        on, off = a.clone().float(), a.clone().float()
        on[torch.from_numpy(~group)] = 0
        off[torch.from_numpy(group)] = 0
        on_scores.append(score(on[None]))
        off_scores.append(y - score(off[None]))
    s = [(p + q) / 2 for p, q in zip(on_scores, off_scores, strict=True)]
    alpha = [float(g[k].mean()) for k in range(channels)]
    scaled = [[(v - min(values)) / (max(values) - min(values)) for v in values] for values in (s, alpha)]
    return sum(combine(scaled[1][k], scaled[0][k]) * a[k] for k in range(channels))


def ablationcam(a, g, model, layer, x, c, **_):
    def score(activation):
        with torch.no_grad():
            return float(run(model, layer, x, activation.float()[None])[0][c])

    total = torch.zeros_like(a[0])
    for k in range(len(a)):
        off = a.clone()
        off[k] = 0
        total += (score(a) - score(off)) / abs(score(a)) * a[k]
    return total


def reciprocam(a, g, model, layer, x, c, **_):
    found = torch.zeros_like(a[0])
    for i in range(a.shape[1]):
        for j in range(a.shape[2]):
            alone = torch.zeros_like(a)
            alone[:, i, j] = a[:, i, j]
            with torch.no_grad():
                found[i, j] = run(model, layer, x, alone.float()[None])[0][c]
    return (found - found.min()) / (found.max() - found.min())


def eigencam(a, g, **_):
    rows = a.flatten(1).T.numpy()
    rows = rows - rows.mean(0)
    first = np.linalg.svd(rows)[2][0]
    projection = rows @ first
    if projection @ rows.mean(1) < 0:
        projection = -projection
    return torch.from_numpy(projection).view(a.shape[1:])


def scorecam(a, g, model, x, c, noise=None, factors=(1.0,), probability=False, softmax=True, **_):
    scores = []
    for k in range(len(a)):
        large = F.interpolate(a[k][None, None].float(), x.shape[-2:], mode="bilinear")[0, 0]
        spread = large.max() - large.min()
        mask = (large - large.min()) / spread if spread > 0 else torch.zeros_like(large)
        values = []
        for i, factor in enumerate(factors):
            with torch.no_grad():
                y = model((x * (mask * factor + (0 if noise is None else noise[i][k])))[None])[0]
            values.append(float(y.softmax(0)[c] if probability else y[c]))
        scores.append(sum(values) / len(values))
    weights = [math.exp(s - max(scores)) for s in scores]
    weights = [w / sum(weights) for w in weights] if softmax else scores
    return sum(w * a[k] for k, w in enumerate(weights))


def groupcam(a, g, model, x, c, groups=6, **_):
    blurred = blur(x[None])[0]

    def probability(image):
        with torch.no_grad():
            return float(model(image[None])[0].softmax(0)[c])

    total = torch.zeros_like(a[0])
    for part in np.array_split(np.arange(len(a)), groups):
        r = sum(g[k].mean() * a[k] for k in part).clamp(min=0)
        large = F.interpolate(r[None, None].float(), x.shape[-2:], mode="bilinear")[0, 0]
        spread = large.max() - large.min()
        m = (large - large.min()) / spread if spread > 0 else torch.zeros_like(large)
        total += max(0, probability(x * m + blurred * (1 - m)) - probability(blurred)) * r
    return total


FORMULAS = {
    f.__name__: f
    for f in (
        gradcam,
        gradcamplusplus,
        xgradcam,
        layercam,
        hirescam,
        fdcam,
        ablationcam,
        reciprocam,
        eigencam,
        scorecam,
        groupcam,
    )
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("net", NETWORKS)
def test_method_is_its_formula(name, net):
    model, x, layer = NETWORKS[net](), images(2), LAYERS[net]
    target = [3, 7]
    found = explainer(name, model, layer).attribute(x, target, relu_attributions=False)[:, 0]
    for n, c in enumerate(target):
        a, g = gradient(model, layer, x[n], c)
        expected = FORMULAS[name](a, g, model=model, layer=layer, x=x[n], c=c).float()
        torch.testing.assert_close(found[n], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
        rectified = explainer(name, model, layer).attribute(x, target, relu_attributions=True)[n, 0]
        assert torch.equal(rectified, found[n].clamp(min=0))


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
    for name in cc.names():
        assert torch.isfinite(explainer(name, model).attribute(x, 1)).all()
    with torch.no_grad():
        model.fc.weight.zero_()
    for name in cc.names():
        heat = explainer(name, model).heatmap(x, 1)
        assert torch.isfinite(heat).all()
        assert heat.min() >= 0
        assert heat.max() <= 1
    assert not cc.GradCAM(model).heatmap(x, 1).any()
