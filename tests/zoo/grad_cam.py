"""Grad-CAM by hand: a hook, a gradient and a sum."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.zoo.grid import Grid, read
from tests.zoo.runs import gradients, scores, seen


class CountError(Exception):
    """A layer that does not run exactly once."""


@dataclass(frozen=True)
class Explained:
    """What a hook at a layer shows.

    Args:
        grid: where the positions are.
        activation, gradient: N×K×h×w.
        map: N×1×h×w with both signs.
    """

    grid: Grid
    activation: Tensor
    gradient: Tensor
    map: Tensor


def grad_cam(model: nn.Module, layer: nn.Module, images: Tensor, classes: list[int]) -> Explained:
    """Explain one class for each image at the output of a layer.

    Raises:
        CountError: the layer does not run exactly once.
        UnreadableError: see :func:`tests.zoo.grid.read`.
    """
    with torch.enable_grad(), seen(layer) as kept:
        output = scores(model, images.clone().requires_grad_())
        total = sum(output[sample, index] for sample, index in enumerate(classes))
        if len(kept) != 1:
            raise CountError(f"the layer runs {len(kept)} times")
        (gradient,) = gradients(total, kept)
    grid = read(kept[0], images.shape[2:])
    a, g = grid.maps(kept[0].detach()), grid.maps(gradient)
    return Explained(grid, a, g, (g.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True))
