"""Correlations of the rows of two tables."""

import torch
from scipy.stats import rankdata
from torch import Tensor

from captum_cams.images import minmax


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Compute Pearson's correlation of each row of ``first`` with the same row of ``second``.

    Args:
        first: N×values.
        second: N×values.

    Returns:
        N values in float64, −1 to 1; 0 if one of the rows is constant, because it says nothing about the other.
    """
    pair = torch.stack((minmax(first, -1).double(), minmax(second, -1).double()))
    centred = pair - pair.mean(2, keepdim=True)
    spread = centred.norm(dim=2).prod(0)
    return (centred.prod(0).sum(1) / spread.where(spread > 0, 1)).clamp(-1, 1)


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Compute Spearman's correlation of each row of ``first`` with the same row of ``second``.

    Args:
        first: N×values; equal values share the mean of their ranks.
        second: N×values.

    Returns:
        N values in float64 on the CPU, −1 to 1; 0 if one of the rows is constant.
    """
    one, other = (torch.from_numpy(rankdata(values.cpu().numpy(), axis=1)) for values in (first, second))
    return correlation(one, other)
