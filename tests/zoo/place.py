"""Whether a layer is the right place to explain, by experiments on the network: nothing is read from names.

Each check returns what is wrong in words, or None.
"""

import torch
from torch import Tensor, nn

from tests.zoo.final import final_features
from tests.zoo.grad_cam import Explained
from tests.zoo.grid import Grid, UnreadableError, distance, read
from tests.zoo.runs import entered, gradients, scores, seen


def not_local(model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """Change a quarter of the image: the activation must change most in the same quarter of the map."""
    one, other = images[:1], images[1:2]
    height, width = images.shape[2:]
    quarters = [(top, left) for top in (0, 1) for left in (0, 1)]
    changed = one.repeat(4, 1, 1, 1)
    for index, quarter in enumerate(quarters):
        changed[index][_quarter(quarter, height, width)] = other[0][_quarter(quarter, height, width)]
    with torch.no_grad(), seen(layer) as kept:
        model(torch.cat((one, changed)))
    a = read(kept[0], (height, width)).maps(kept[0])
    change = distance(a[:1], a[1:])
    h, w = change.shape[1:]
    for index, quarter in enumerate(quarters):
        means = [float(change[index][_quarter(other, h, w)[1:]].mean()) for other in quarters]
        if max(means) == 0:
            return "the activation does not depend on the image"
        if max(means) > means[index]:
            return f"a change of quarter {quarter} of the image changes another quarter of the map more"
    return None


def _quarter(quarter: tuple[int, int], height: int, width: int) -> tuple[slice, slice, slice]:
    """The rows and columns of a quarter; a row or column in the middle belongs to none."""
    rows = slice(-(-height // 2), height) if quarter[0] else slice(0, height // 2)
    columns = slice(-(-width // 2), width) if quarter[1] else slice(0, width // 2)
    return slice(None), rows, columns


def without_gradient(found: Explained) -> str | None:
    """The score must depend on the values at more than half of the positions."""
    share = float((found.gradient.abs().sum(1) > 0).double().mean())
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


def too_early(model: nn.Module, layer: nn.Module, images: Tensor, found: Explained) -> str | None:
    """Nothing behind the layer may mix positions but the head: compare with the final features of the network.

    Change the activation at one position: the final features have the same positions and change at this one alone. If
    the head reads a class token only, they have no gradient at the positions; then the block of the layer must be the
    last one.
    """
    sides = images.shape[2:]
    h, w = found.grid.size
    row, column = h // 2, w // 2

    def at_one_position(output: Tensor) -> Tensor:
        changed = output.clone()
        maps = found.grid.maps(changed)
        maps[0, :, row, column] = maps[1, :, row, column]
        return changed

    with torch.no_grad():
        with final_features(model) as before:
            model(images)
        with final_features(model) as after, seen(layer, at_one_position):
            model(images)
    if not before:
        return _shallow(model, layer, images)
    try:
        final = read(before[-1], sides)
    except UnreadableError:
        return _shallow(model, layer, images)
    if final.size != found.grid.size:
        return f"the final features have {final.size[0]}×{final.size[1]} positions"
    change = distance(final.maps(before[-1]), final.maps(after[-1]))[0]
    alone = change[row, column].clone()
    change[row, column] = 0
    if not change.amax() > 1e-5 * alone:
        return None
    return _not_last(model, layer, images, final)


def _not_last(model: nn.Module, layer: nn.Module, images: Tensor, final: Grid) -> str | None:
    """Whether positions are read behind the block of a layer that is not position by position before the head."""
    parent, sides = _parent(model, layer), images.shape[2:]
    with torch.enable_grad(), final_features(model) as last, seen(parent) as block:
        score = scores(model, images[:1].clone().requires_grad_())[:, 1].sum()
        at_last, at_block = gradients(score, [last[-1], block[-1]])
    if final.maps(at_last).any():
        return "positions are mixed behind the layer"
    try:
        late = read(at_block, sides).maps(at_block).any()
    except UnreadableError:  # the block gives its class token alone
        late = False
    return "positions are read behind the block of the layer" if late else None


def _shallow(model: nn.Module, layer: nn.Module, images: Tensor) -> str | None:
    """For networks that do not name their final features: at least 60 % of the innermost modules ran before."""
    order: list[nn.Module] = []
    handles = [
        module.register_forward_hook(lambda module, args, output: order.append(module))
        for module in model.modules()
        if module is layer or not next(module.children(), None)
    ]
    with torch.no_grad():
        model(images[:1])
    for handle in handles:
        handle.remove()
    share = (order.index(layer) + 1) / len(order)
    return None if share >= 0.6 else f"the layer ends after {share:.0%} of the modules"
