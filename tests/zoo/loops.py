"""Ablation-CAM and FD-CAM by loops over the channels, each a run of the whole network with a hook."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.zoo.grad_cam import grad_cam
from tests.zoo.runs import scores, seen


def ablation_cam(model: nn.Module, layer: nn.Module, image: Tensor, index: int) -> Tensor:
    """Desai and Ramaswamy 2020, eq. 2: the share of the score that is lost without each channel."""
    found = grad_cam(model, layer, image, [index])
    score = switched_score(model, layer, image, index)
    total = torch.zeros_like(found.map)
    for channel in range(found.activation.shape[1]):
        off = torch.ones(found.activation.shape[1], dtype=torch.bool)
        off[channel] = False
        weight = (score(torch.ones_like(off)) - score(off)) / abs(score(torch.ones_like(off)))
        total += weight * found.activation[:, channel : channel + 1]
    return total


def fd_cam(model: nn.Module, layer: nn.Module, image: Tensor, index: int) -> Tensor:
    """Li et al. 2022, eq. 4 to 11, with 5 % of the channels in each group."""
    found = grad_cam(model, layer, image, [index])
    score = switched_score(model, layer, image, index)
    rows = found.activation[0].flatten(1)
    lengths = rows.norm(dim=1)
    cosines = (rows @ rows.T / lengths / lengths[:, None]).nan_to_num()  # 0 with a channel of zeros
    groups = cosines > torch.quantile(cosines, 0.95, dim=1, keepdim=True)
    whole = score(torch.ones(len(rows), dtype=torch.bool))
    change = torch.tensor([((whole - score(~group)) + score(group)) / 2 for group in groups]).to(rows)
    weights = scaled(found.gradient.mean((2, 3))[0]) * scaled(change).exp() - 0.5
    return (weights[None, :, None, None] * found.activation).sum(1, keepdim=True)


def switched_score(model: nn.Module, layer: nn.Module, image: Tensor, index: int) -> Callable[[Tensor], float]:
    """The score as a function of which channels are on; the others are zero at the positions, not in the prefix."""
    grid = grad_cam(model, layer, image, [index]).grid

    def score(on: Tensor) -> float:
        def switch(output: Tensor) -> Tensor:
            changed = output.clone()
            grid.maps(changed)[:, ~on] = 0
            return changed

        with torch.no_grad(), seen(layer, switch):
            return float(scores(model, image)[0, index])

    return score


def scaled(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())
