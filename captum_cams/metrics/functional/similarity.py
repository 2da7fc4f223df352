"""How similar two maps of one image are, for the sanity checks."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.errors import CAMError, check_choice, shape_of
from captum_cams.images import minmax
from captum_cams.metrics.functional.correlation import rank_correlation

Similarity = Literal["spearman", "ssim"]
"""How similar two maps are.

- "spearman": Spearman's rank correlation over all positions. It is 1 if both maps are constant, and 0 if only one is.
- "ssim": the structural similarity of both maps, each scaled to [0, 1]: Wang et al., "Image Quality Assessment: From
  Error Visibility to Structural Similarity", IEEE TIP 2004, with windows of 7 positions along each axis that weigh all
  positions alike, or of the largest odd number that fits into a smaller map; the windows lie wholly inside of the map.
"""
_WINDOW, _LUMINANCE, _CONTRAST = 7, 0.01**2, 0.03**2
_MEAN: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def check_similarity(name: str) -> None:
    """Raise an error unless this is the name of a similarity."""
    check_choice("similarity", name, get_args(Similarity))


def similarity_of_maps(maps: Tensor, others: Tensor, similarity: Similarity) -> Tensor:
    """Compute the similarity of each map with another map.

    Args:
        maps: maps N×1×h×w; signals and volumes have other axes.
        others: maps of the same shape.
        similarity: see :data:`Similarity`.

    Returns:
        N values on the CPU, −1 to 1.

    Raises:
        CAMError: the similarity is unknown, or "ssim" is asked of maps with fewer than three positions along an axis.
    """
    check_similarity(similarity)
    return (_ranks if similarity == "spearman" else _structure)(maps.cpu(), others.cpu())


def _ranks(maps: Tensor, others: Tensor) -> Tensor:
    flat = [side.flatten(1).float() for side in (maps, others)]
    first, second = (~minmax(side, 1).any(1) for side in flat)
    return torch.where(first | second, (first & second).double(), rank_correlation(*flat)).float()


def _structure(maps: Tensor, others: Tensor) -> Tensor:
    shortest, axes = min(maps.shape[2:]), maps.ndim - 2
    if shortest < 3:
        raise CAMError(
            f'similarity="ssim" needs maps of at least 3 positions along each axis, got {shape_of(maps)}; take a layer '
            'with larger maps, or similarity="spearman"'
        )
    side = min(_WINDOW, shortest - 1 + shortest % 2)
    x, y = (minmax(one.double(), tuple(range(2, maps.ndim))) for one in (maps, others))
    of_x, of_y, of_xx, of_yy, of_xy = (_MEAN[axes](values, side, stride=1) for values in (x, y, x * x, y * y, x * y))
    unbiased = side**axes / (side**axes - 1)
    spreads, together = unbiased * (of_xx - of_x**2 + of_yy - of_y**2), unbiased * (of_xy - of_x * of_y)
    light = (2 * of_x * of_y + _LUMINANCE) / (of_x**2 + of_y**2 + _LUMINANCE)
    return (light * (2 * together + _CONTRAST) / (spreads + _CONTRAST)).flatten(1).mean(1).clamp(-1, 1).float()
