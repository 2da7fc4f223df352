"""Masks that keep one window of a map each."""

import torch
from torch import Tensor


def windows(activation: Tensor, binomial: bool) -> Tensor:
    """Make a mask around each position of a map.

    Args:
        activation: N×K×h×w (N×K×t or N×K×d×h×w); its positions count.
        binomial: True gives windows of three positions along each axis with the weights [1, 2, 1]/4, False the
            position alone.

    Returns:
        The masks, (h·w)×1×h×w, the first row of positions first.
    """
    size = activation.shape[2:]
    masks = torch.eye(size.numel(), device=activation.device).view(-1, 1, *size)
    if binomial:
        for axis in range(2, masks.ndim):
            masks = _binomial(masks, axis)
    return masks


def _binomial(masks: Tensor, axis: int) -> Tensor:
    """Weigh each value and its two neighbours along an axis by ½, ¼ and ¼; there are zeros beyond the ends."""
    before, after = torch.zeros_like(masks), torch.zeros_like(masks)
    side = masks.shape[axis]
    after.narrow(axis, 1, side - 1).copy_(masks.narrow(axis, 0, side - 1))
    before.narrow(axis, 0, side - 1).copy_(masks.narrow(axis, 1, side - 1))
    return masks / 2 + (before + after) / 4
