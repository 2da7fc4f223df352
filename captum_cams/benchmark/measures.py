"""How well a map agrees with the pixels that decide."""

from collections.abc import Callable

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_finite, shape_of
from captum_cams.images import heat
from captum_cams.metrics.functional.localisation import energy_inside, pointing_game


def average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """Compute how well a map ranks the pixels of a mask above all other pixels, as average precision.

    AP = Σ_n (R_n − R_{n−1}) P_n, where P_n and R_n are precision and recall of the pixels that reach the n-th highest
    value. Pixels of equal value are taken together, so a constant map gets the share of the mask in the image.

    Args:
        maps: explanations, N×h×w or N×1×h×w; resized to the size of the masks with bilinear interpolation.
        masks: N×H×W booleans, each with at least one pixel.

    Returns:
        N values, above 0, at most 1, higher is better.

    Raises:
        CAMError: shapes do not fit, a mask is empty, or the maps contain NaN or Inf.

    Example::

        from captum_cams import benchmark

        masks = torch.zeros(2, 64, 64, dtype=torch.bool)
        masks[:, :32] = True
        print(benchmark.average_precision(masks.float(), masks))  # tensor([1., 1.])
    """
    maps = maps[:, None] if maps.ndim == 3 else maps
    if masks.ndim != 3 or maps.ndim != 4 or maps.shape[:2] != (len(masks), 1):
        raise CAMError(
            f"there must be one map and one mask for each image, N×1×h×w and N×H×W, got {shape_of(maps)} and "
            f"{shape_of(masks)}"
        )
    check_finite("maps", maps)
    if not masks.flatten(1).any(1).all():
        raise CAMError("each mask must have at least one pixel, got an empty one; leave such images out")
    values = heat(maps, masks.shape[1:]).flatten(1).cpu()
    ordered, order = values.sort(dim=1, descending=True, stable=True)
    hits = masks.flatten(1).cpu().gather(1, order).double().cumsum(1)
    # Only the last of several equal values ends a step of the curve.
    ends = torch.cat((ordered[:, 1:] != ordered[:, :-1], torch.ones(len(ordered), 1, dtype=torch.bool)), 1)
    precision = hits / torch.arange(1, hits.shape[1] + 1)
    before = torch.cat((torch.zeros(len(hits), 1, dtype=hits.dtype), (hits * ends).cummax(1).values[:, :-1]), 1)
    return ((hits - before) * precision * ends).sum(1) / hits[:, -1]


MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "average_precision": average_precision,
    "mass": lambda maps, masks: energy_inside(maps, [*masks[:, None]], masks.shape[1:]).double(),
    "pointing": lambda maps, masks: pointing_game(maps, [*masks[:, None]], masks.shape[1:]).double(),
}
"""Name → function of maps and masks that gives one value for each image, 0 to 1, higher is better."""
