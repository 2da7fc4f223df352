"""Whether a layer is the right place to explain, by experiments on the network.

Each check returns what is wrong in words, or None.
"""

import re
from itertools import permutations

import torch
from torch import Tensor, nn

from tests.zoo.final import final_features
from tests.zoo.grad_cam import Explained
from tests.zoo.grid import Grid, UnreadableError, distance, read
from tests.zoo.pictures import pictures, takes
from tests.zoo.runs import ended_after, entered, gradients, scores, seen


def not_local(model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """Changes of the image must be seen where they are, if need be in a larger image.

    Where each position sees all of a small image, as in a deep convolutional network with random weights, a larger
    image tells more.
    """
    problem = _elsewhere(model, layer, images)
    sides = (2 * images.shape[2], 2 * images.shape[3])
    return _elsewhere(model, layer, pictures(1, sides)) if problem and takes(model, sides) else problem


_NOISE = 0.02


def _elsewhere(model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """Change the middle of a quarter of the image a little: the same quarter of the map must change.

    A deep network with random weights spreads changes over its map. So the four changes are told apart together: of
    the 24 ways to pair quarters of the image and of the map, none may explain the changes better than the right one by
    more than ``_NOISE`` of 4. In the deepest networks all quarters answer alike, and the ways differ by less.
    """
    one = images[:1]
    height, width = images.shape[2:]
    quarters = [(top, left) for top in (0, 1) for left in (0, 1)]
    changed = one.repeat(4, 1, 1, 1)
    for index, (top, left) in enumerate(quarters):
        rows = slice(height // 8 + top * height // 2, 3 * height // 8 + top * height // 2)
        columns = slice(width // 8 + left * width // 2, 3 * width // 8 + left * width // 2)
        changed[index, :, rows, columns] *= 0.9
    with torch.no_grad(), seen(layer) as kept:
        model(torch.cat((one, changed)))
    a = read(kept[0], (height, width)).maps(kept[0])
    change = distance(a[:1], a[1:])
    h, w = change.shape[1:]
    means = torch.stack([change[(slice(None), *_quarter(q, h, w)[1:])].mean((1, 2)) for q in quarters], 1)
    if not means.any():
        return "the activation does not depend on the image"
    means = means / means.sum(0)
    explained = {pairs: sum(float(means[i, j]) for i, j in enumerate(pairs)) for pairs in permutations(range(4))}
    best = max(explained, key=lambda pairs: explained[pairs])
    if explained[best] - explained[0, 1, 2, 3] <= _NOISE:
        return None
    return f"changes of the quarters 0, 1, 2, 3 of the image are seen in {best}"


def _quarter(quarter: tuple[int, int], height: int, width: int) -> tuple[slice, slice, slice]:
    """The rows and columns of a quarter; a row or column in the middle belongs to none."""
    rows = slice(-(-height // 2), height) if quarter[0] else slice(0, height // 2)
    columns = slice(-(-width // 2), width) if quarter[1] else slice(0, width // 2)
    return slice(None), rows, columns


def without_gradient(model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """All scores together must depend on the values at more than half of the positions."""
    with torch.enable_grad(), seen(layer) as kept:
        output = scores(model, images[:1].clone().requires_grad_())
        (gradient,) = gradients(
            (output * torch.randn(output.shape, generator=torch.Generator().manual_seed(0))).sum(), kept[-1:]
        )
    share = float((read(gradient, images.shape[2:]).maps(gradient).abs().sum(1) > 0).double().mean())
    return None if share > 0.5 else f"the gradient is zero at {1 - share:.0%} of the positions"


def bypassed(model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """Cut the gradient at the layer: nothing else may lead from the positions to the score.

    Without prefix tokens, no gradient may reach the image. A class token takes its own way around the norm before the
    last attention, so there none may reach the positions of what the block around the layer gets.
    """
    parent = _parent(model, layer)
    with torch.enable_grad(), seen(layer, Tensor.detach) as kept, entered(parent) as inputs:
        image = images[:1].clone().requires_grad_()
        score = scores(model, image)[:, 1].sum()
        if not gradients(score, [image])[0].any():
            return None
        grid = read(kept[0], images.shape[2:])
        if grid.prefix and parent is not model and inputs:
            (gradient,) = gradients(score, inputs[-1:])
            if not read(gradient, images.shape[2:]).maps(gradient).any():
                return None
    return "the score also depends on positions by a way around the layer"


def _parent(model: nn.Module, layer: nn.Module) -> nn.Module:
    """The module that holds the layer."""
    name = next(name for name, module in model.named_modules() if module is layer)
    return model.get_submodule(name.rpartition(".")[0])


def inside_attention(model: nn.Module, layer: nn.Module) -> str | None:
    """No module around the layer may be an attention, as its class is named; a block that has one may."""
    path = next(name for name, module in model.named_modules() if module is layer).split(".")
    for depth in range(1, len(path)):
        kind = type(model.get_submodule(".".join(path[:depth]))).__name__
        if re.search(r"Att(entio)?n", kind) and not re.search(r"Block|Layer|Stage", kind):
            return f"the layer is inside of {kind}"
    return None


def too_early(model: nn.Module, layer: nn.Module, images: Tensor, found: Explained) -> str | None:
    """Nothing behind the layer may mix positions but the head.

    Wrong is a later output whose positions the score reads, and which mixes positions of the layer: it has fewer of
    them, or one of its positions depends on others of the layer. Behind the norm before the last attention of a network
    with a class token there is none but inside of that attention, since the score reads no positions behind it.
    """
    sides, size = images.shape[2:], found.grid.size
    with torch.enable_grad(), final_features(model) as features, ended_after(model, layer) as ended:
        score = scores(model, images[:1].clone().requires_grad_())[:, 1].sum()
    # Some networks hand only the class and distillation tokens to their head: no positions, whatever their shape.
    prefix_only = bool(features) and features[-1].shape[1:2] == (found.grid.prefix,)
    final = readable(features[-1], sides) if features and not prefix_only else None
    if final and final.size != size:
        return f"the final features have {final.size[0]}×{final.size[1]} positions"
    (_, activation), *later = ended
    read_later = gradients(score, [tensor for _, tensor in later])
    for (name, tensor), gradient in reversed([*zip(later, read_later, strict=True)]):
        grid = readable(tensor, sides)
        # Weights of an attention look like a larger map.
        if grid is None or grid.size > size or not grid.maps(gradient).any():
            continue
        if found.grid.prefix and inside_attention(model, model.get_submodule(name)):
            continue
        if _mixed(activation, found.grid, tensor, grid):
            return f"positions are mixed behind the layer, in {name}"
    return None


def readable(tensor: Tensor, sides: tuple[int, int]) -> Grid | None:
    """Where the positions are; None if there are none."""
    try:
        return read(tensor, sides)
    except UnreadableError:
        return None


def _mixed(activation: Tensor, grid: Grid, later: Tensor, later_grid: Grid) -> bool:
    """Whether one position of a later output depends on others of an earlier activation."""
    (h, w), (row, column) = later_grid.size, (grid.size[0] // 2, grid.size[1] // 2)
    one = later_grid.maps(later)[0, :, h // 2, w // 2]
    weights = torch.randn(one.shape, generator=torch.Generator().manual_seed(0))
    (gradient,) = gradients((one * weights).sum(), [activation])
    reached = grid.maps(gradient).abs().sum((0, 1))
    reached[row, column] = 0
    return bool(reached.any())
