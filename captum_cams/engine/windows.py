"""Masks that keep one window of a map each."""

import torch
import torch.nn.functional as F
from torch import Tensor


def windows(activation: Tensor, binomial: bool) -> Tensor:
    """Make a mask around each position of a map.

    Args:
        activation: N×K×h×w; its positions count.
        binomial: True gives 3×3 windows with the weights of [1, 2, 1]/4 in both directions, False the position alone.

    Returns:
        The masks, (h·w)×1×h×w, the first row of positions first.
    """
    height, width = activation.shape[2:]
    masks = torch.eye(height * width, device=activation.device).view(-1, 1, height, width)
    if not binomial:
        return masks
    window = torch.tensor([1.0, 2.0, 1.0], device=masks.device) / 4
    return F.conv2d(masks, torch.outer(window, window)[None, None], padding=1)
