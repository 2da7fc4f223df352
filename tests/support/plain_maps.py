"""Maps as a user of plain torch writes them, in the graph of all parameters."""

import torch
from torch import Tensor, nn


def seen(model: nn.Module, layer: str, x: Tensor, target: list[int]) -> tuple[Tensor, Tensor]:
    """Activation and gradient N×K×h×w, both in the graph."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, args, output: kept.append(output))
    scores = model(x)
    handle.remove()
    score = scores[range(len(x)), target].sum()
    (gradient,) = torch.autograd.grad(score, kept[0], create_graph=True)
    return kept[0], gradient


def gradcam(a, g, **_):
    return (g.mean((2, 3), keepdim=True) * a).sum(1)


def gradcamplusplus(a, g, **_):
    alpha = g**2 / (2 * g**2 + g**3 * a.sum((2, 3), keepdim=True))
    return ((alpha * g.relu()).sum((2, 3), keepdim=True) * a).sum(1)


def xgradcam(a, g, **_):
    total = a.sum((2, 3), keepdim=True)
    weights = (a * g).sum((2, 3), keepdim=True) / total.where(total != 0, 1)  # channels may be dead
    return (weights * a).sum(1)


def layercam(a, g, **_):
    return (g.relu() * a).sum(1)


def hirescam(a, g, **_):
    return (g * a).sum(1)


def zoomcam(a, g, **_):
    positive = (g * a).sum(1).relu()
    low, high = (limit((1, 2), keepdim=True) for limit in (positive.amin, positive.amax))
    return (positive - low) / (high - low)


def cam(a, g, model, target, **_):
    return torch.einsum("nk,nkhw->nhw", model.fc.weight[target], a)


def gradcamelementwise(a, g, **_):
    return (g * a).relu().sum(1)


def principal(features, side=None):
    rows = features.flatten(2).mT
    centred = rows - rows.mean(1, keepdim=True)
    projected = (centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:, 0, :, None])[..., 0]
    along = (projected * centred.mean(2)).sum(1) if side is None else projected.amax(1) + projected.amin(1)
    return (along.sign()[:, None] * projected).reshape(len(features), *features.shape[2:])


def eigencam(a, g, **_):
    return principal(a)


def eigengradcam(a, g, **_):
    return principal(g * a)


def segeigencam(a, g, **_):
    return principal(g.abs() * a, "extremes")


def integratedgradcam(a, g, model, layer, x, target, steps=2):
    start, total = seen(model, layer, 0 * x, target)[0], 0
    for step in range(1, steps + 1):
        activation, gradient = seen(model, layer, x * step / steps, target)
        total = total + (gradient.mean((2, 3), keepdim=True) * (activation - start)).sum(1).relu() / steps
    return total


def smoothgradcamplusplus(a, g, model, layer, x, target, samples=2):
    draws = torch.randn(samples, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)
    spread = (x.flatten(1).amax(1) - x.flatten(1).amin(1)).reshape(-1, 1, 1, 1)
    gradients = [seen(model, layer, x + 0.15 * spread * draw, target)[1] for draw in draws]
    mean, square, cube = (sum(gradient**power for gradient in gradients) / samples for power in (1, 2, 3))
    alpha = square / (2 * square + cube * a.sum((2, 3), keepdim=True))
    return ((alpha * mean.relu()).sum((2, 3), keepdim=True) * a).sum(1)


PLAIN = {
    function.__name__: function
    for function in (
        *(gradcam, gradcamplusplus, xgradcam, layercam, hirescam, gradcamelementwise, zoomcam, cam),
        *(eigencam, eigengradcam, segeigencam, integratedgradcam, smoothgradcamplusplus),
    )
}
OPTIONS = {"integratedgradcam": {"steps": 2}, "smoothgradcamplusplus": {"samples": 2}}


def plain_maps(name: str, model: nn.Module, layer: str, x: Tensor, target: list[int]) -> Tensor:
    """The signed maps of a method, N×h×w, with the model as it is."""
    a, g = seen(model, layer, x, target)
    return PLAIN[name](a, g, model=model, layer=layer, x=x, target=target)


def gradients(loss: Tensor, model: nn.Module, x: Tensor) -> list[Tensor]:
    """What ``loss.backward()`` adds to the parameters and the images; zeros where it adds nothing."""
    sources = [*model.parameters(), x]
    for source in sources:
        source.grad = None
    loss.backward()
    found = [torch.zeros_like(source) if source.grad is None else source.grad for source in sources]
    for source in sources:
        source.grad = None
    return found
