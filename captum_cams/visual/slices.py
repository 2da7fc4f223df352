"""Choose the slices of volumes and the frames of clips that a panel shows."""

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_at_least, check_tensor, shape_of


def choose_slices(heatmaps: Tensor, count: int = 3) -> Tensor:
    """Choose the slices of each volume, or the frames of each clip, in which its map has the most energy.

    The energy of a slice is the sum of the map over it. Of slices with equal energy, the first are taken.

    Args:
        heatmaps: N×D×H×W, as ``heatmap`` of an explainer returns them.
        count: number of slices, at least 1; a volume with fewer slices has all of them chosen.

    Returns:
        The indices of the slices along D, counted from 0 and in increasing order, N×count.

    Raises:
        CAMError: the maps are not N×D×H×W, or ``count`` is not a positive integer.

    Example::

        from captum_cams import visual

        heatmaps = torch.zeros(1, 16, 8, 8)
        heatmaps[0, 5] = 1
        heatmaps[0, 2, :4] = 1
        print(visual.choose_slices(heatmaps, 2))  # tensor([[2, 5]])
    """
    check_at_least("count", count, 1)
    check_tensor("heatmaps", heatmaps, "N×D×H×W")
    if heatmaps.ndim != 4:
        raise CAMError(f"heatmaps must be N×D×H×W, got {shape_of(heatmaps)}; images have no slices")
    energy = heatmaps.detach().double().sum((2, 3))
    return energy.argsort(dim=1, descending=True, stable=True)[:, :count].sort(1).values


def parted(pictures: Tensor, chosen: Tensor | None) -> Tensor:
    """Take some slices of volumes N×C×D×H×W, or images N×C×H×W as they are, as N×P×C×H×W."""
    if chosen is None:
        return pictures[:, None]
    return torch.stack([each[:, some] for each, some in zip(pictures, chosen, strict=True)]).movedim(2, 1)
