"""Every method as a loop written from its paper, sample by sample, by full runs of the network."""

import copy
import math
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import KernelPCA

from captum_cams.images import blur


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


def gradcamelementwise(a, g, **_):
    return sum((g[k] * a[k]).clamp(min=0) for k in range(len(a)))


def fem(a, g, **_):
    shares = [(a[k] > a[k].mean() + 2 * a[k].std(correction=0)).double().mean() for k in range(len(a))]
    return sum(share * a[k] for k, share in enumerate(shares))


def shapleycam(a, g, model, layer, x, c, **_):
    """By a central difference of the gradient along the activation, in float64."""
    double, step = copy.deepcopy(model).double(), 1e-7

    def gradient_at(factor):
        activation = (a * factor)[None].requires_grad_()
        return torch.autograd.grad(run(double, layer, x.double(), activation)[0][c], activation)[0][0]

    curvature = (gradient_at(1 + step) - gradient_at(1 - step)) / (2 * step)
    return sum((g[k] - curvature[k] / 2).mean() * a[k] for k in range(len(a)))


def projected(features, side=None):
    """Centred features K×h×w on their first principal component; its sign makes ``side`` positive."""
    rows = features.flatten(1).T.numpy()
    rows = rows - rows.mean(0)
    return signed(rows @ np.linalg.svd(rows)[2][0], rows, side).view(features.shape[1:])


def signed(projection, rows, side=None):
    along = projection @ rows.mean(1)
    if side == "extremes" or abs(along) < 1e-5 * (abs(projection) @ abs(rows).mean(1)):
        along = projection.max() + projection.min()  # behind a LayerNorm, the mean is nothing but rounding
    return torch.from_numpy(-projection if along < 0 else projection)


def eigencam(a, g, **_):
    return projected(a)


def eigengradcam(a, g, **_):
    return projected(g * a)


def segeigencam(a, g, **_):
    return projected(g.abs() * a, "extremes")


def kpcacam(a, g, kernel="sigmoid", **_):
    rows = a.flatten(1).T.numpy()
    rows = rows - rows.mean(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scipy, where an eigenvalue is zero
        found = KernelPCA(1, kernel=kernel).fit_transform(rows)[:, 0]
    return signed(found, rows).view(a.shape[1:])


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
        large = F.interpolate(r[None, None].to(x.dtype), x.shape[-2:], mode="bilinear")[0, 0]
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
        gradcamelementwise,
        fem,
        shapleycam,
        eigencam,
        eigengradcam,
        segeigencam,
        kpcacam,
        scorecam,
        groupcam,
    )
}


LAYERS = {
    "plain": "features.10",
    "batch norm": "features.14",
    "residual": "layer4",
    "dense": "norm",
    "functional ReLU": "conv2",
    "in-place ReLU": "bn",
}
