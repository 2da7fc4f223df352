"""Grad-CAM by a hook and one gradient, written without the library."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def gradcam(
    run: Callable[[], Any], layer: nn.Module, score: Callable[[Any], Tensor], to_map: Callable = lambda value: value
) -> Tensor:
    """The signed Grad-CAM map N×1×h×w of the sum of the scores, at the output of a layer.

    Args:
        run: runs the model.
        layer: the layer, which gives one tensor.
        score: from the output of the model to the scores.
        to_map: from the output of the layer to N×K×h×w.
    """
    kept = []

    def keep(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()

    handle = layer.register_forward_hook(keep)
    with torch.enable_grad():
        output = run()
    handle.remove()
    (gradient,) = torch.autograd.grad(score(output).sum(), kept[-1])
    activation, gradient = to_map(kept[-1].detach()), to_map(gradient)
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1, keepdim=True)
