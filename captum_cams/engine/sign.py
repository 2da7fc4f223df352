"""The sign of a principal component, which has none of its own."""

from torch import Tensor


def sign_of_mean(maps: Tensor, rows: Tensor) -> Tensor:
    """Choose the sign with which each map correlates positively with the mean over the channels.

    Where this mean is only rounding, as behind a LayerNorm, the larger extreme of the map is positive.

    Args:
        maps: the maps N×h·w×1, whose sign is arbitrary.
        rows: the centred features N×h·w×K.

    Returns:
        1 or −1 for each map, N×1×1.
    """
    along = (maps * rows.mean(2, keepdim=True)).sum(1, keepdim=True)
    size = (maps.abs() * rows.abs().mean(2, keepdim=True)).sum(1, keepdim=True)
    sign = along.where(along.abs() > 1e-5 * size, extremes(maps)).sign()
    return sign.where(sign != 0, 1)


def extremes(maps: Tensor) -> Tensor:
    """Add the largest and the smallest value of each map N×h·w×1: positive if the largest is the farther from 0."""
    return maps.amax(1, keepdim=True) + maps.amin(1, keepdim=True)
