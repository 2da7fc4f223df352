"""Localisation as pure functions on maps and annotated regions.

Shared by all of them:

Args:
    maps: the explanations, N×h×w or N×1×h×w, resized to the images' size with bilinear interpolation.
    regions: for each image where the explained class is: boxes B×4 of (x0, y0, x1, y1) in its pixels,
        x0 ≤ x < x1, or masks B×H×W that are not zero on the object. What lies outside of the image does not count
        for :func:`energy_inside`.
    size: height and width of the images.

Raises:
    CAMError: shapes do not fit, an image without a region, an empty region, or maps that hold NaN or Inf.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from scipy import ndimage
from torch import Tensor
from torchvision.ops import box_iou

from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, brief, check_choice, check_finite, check_tensor, shape_of
from captum_cams.images import heat

Threshold = Literal["value", "mean", "energy"]
"""How a map is cut; see :func:`region_overlap`."""
LEVELS = tuple(level / 20 for level in range(20))
"""0, 0.05, … 0.95: the thresholds of Hartley et al."""


def pointing_game(maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int], *, margin: float = 0.0) -> Tensor:
    """Whether the map's maximum lies in a region, or at most ``margin`` pixels from one: N booleans.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018, section 4.2, with a margin of 15
    pixels. Of equal maxima the first counts, row by row; in a constant map that is the first pixel.
    """
    places = heat(_checked(maps, regions, size), size).flatten(1).argmax(1).tolist()
    hits = [_distance(given, *divmod(place, size[1])) <= margin for place, given in zip(places, regions, strict=True)]
    return torch.tensor(hits)


def energy_inside(maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The share of the map, scaled to [0, 1], that lies in the regions: N, 0 to 1, and 0 for a constant map.

    Wang et al., "Score-CAM", CVPRW 2020, section 4.3 (energy-based pointing game); Qiu et al. call it proportion.
    """
    scaled = heat(_checked(maps, regions, size), size)[:, 0]
    inside = torch.stack([region_mask(given, size) for given in regions]).to(scaled)
    whole = scaled.sum((1, 2))
    return ((scaled * inside).sum((1, 2)) / whole.where(whole > 0, 1)).float()


def region_overlap(
    maps: Tensor,
    regions: Sequence[Tensor],
    size: tuple[int, int],
    *,
    threshold: Threshold = "value",
    levels: Sequence[float] = LEVELS,
) -> Tensor:
    """Intersection over union of the annotation and what the map shows: N×levels, 0 to 1.

    Hartley et al., "Jitter-CAM", BMVC 2021, section 4.5. The map, scaled to [0, 1], is cut at each level:
    ``threshold="value"`` keeps what reaches the level, "mean" what reaches the level times the map's mean, "energy"
    the highest pixels that together hold this share of the map's sum, one at least. Boxes: of the box around the
    largest connected part (four neighbours) with the annotated box that fits best. Masks: of all pixels that are
    kept with all masks together. A constant map is scaled to zeros: "value" keeps all pixels at level 0 and none above,
    "mean" keeps all, and "energy" keeps the first.
    """
    check_choice("threshold", threshold, get_args(Threshold))
    scaled = heat(_checked(maps, regions, size), size)[:, 0].cpu()
    return torch.stack(
        [
            _overlaps(torch.stack([_kept(one, threshold, level) for level in levels]), given.cpu())
            for one, given in zip(scaled, regions, strict=True)
        ]
    )


def localisation_error(overlaps: Tensor, least: float = 0.5) -> Tensor:
    """The share of images whose overlap, N×levels, is below ``least``, at the best level: one number, 0 to 1."""
    return (overlaps < least).float().mean(0).min()


def region_mask(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels of an image that belong to its regions, boxes B×4 or masks B×H×W: H×W booleans."""
    if regions.ndim == 3:
        return regions.cpu().bool().any(0)
    mask = torch.zeros(size, dtype=torch.bool)
    limit = torch.tensor([size[1], size[0]] * 2)
    for x0, y0, x1, y1 in regions.cpu().float().ceil().long().clamp(min=0).minimum(limit).tolist():
        mask[y0:y1, x0:x1] = True
    return mask


def is_difficult(regions: Tensor, size: tuple[int, int], *, other_classes: bool) -> bool:
    """Whether an image belongs to the difficult subset: other classes are present, and the regions cover < ¼ of it.

    Zhang et al., IJCV 2018, section 4.2.

    Args:
        regions: of the explained class, boxes B×4 or masks B×H×W.
        size: height and width of the image.
        other_classes: whether objects of another class are annotated in the image.
    """
    return other_classes and float(region_mask(regions, size).float().mean()) < 0.25


def _distance(regions: Tensor, y: int, x: int) -> float:
    """Pixels from a point to the nearest region."""
    if regions.ndim == 3:
        down, across = (regions.cpu().bool().any(0).nonzero() - torch.tensor([y, x])).abs().T
    else:
        x0, y0, x1, y1 = regions.cpu().float().ceil().T
        across = torch.maximum(x0 - x, x - x1 + 1).clamp(min=0)
        down = torch.maximum(y0 - y, y - y1 + 1).clamp(min=0)
    return float((across.double() ** 2 + down.double() ** 2).min().sqrt())


def _kept(heat: Tensor, threshold: Threshold, level: float) -> Tensor:
    if threshold == "value":
        return heat >= level
    if threshold == "mean":
        return heat >= level * heat.mean()
    order = heat.flatten().argsort(descending=True, stable=True)
    running = heat.flatten()[order].double().cumsum(0)
    count = int((running < level * running[-1]).sum()) + 1
    kept = torch.zeros(heat.numel(), dtype=torch.bool)
    kept[order[:count]] = True
    return kept.view_as(heat)


def _part(kept: Tensor) -> tuple[int, int, int, int]:
    """The box around the largest connected part; an empty one if nothing is kept."""
    if not kept.any():
        return 0, 0, 0, 0
    labels, _ = ndimage.label(kept.numpy())
    sizes = ndimage.sum_labels(kept.numpy(), labels, range(1, labels.max() + 1))
    rows, columns = ndimage.find_objects(labels)[int(sizes.argmax())]
    return columns.start, rows.start, columns.stop, rows.stop


def _overlaps(kept: Tensor, regions: Tensor) -> Tensor:
    """Intersection over union of what is kept at each level, L×H×W, and the regions of one image: L."""
    if regions.ndim == 3:
        mask = regions.bool().any(0)
        return (kept & mask).sum((1, 2)) / (kept | mask).sum((1, 2))
    parts = torch.tensor([_part(one) for one in kept], dtype=torch.float64)
    return box_iou(parts, regions.double()).amax(1).float()


def _checked(maps: Tensor, regions: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    if not isinstance(regions, Sequence | Tensor):
        raise CAMError(f"regions must be a list with a tensor of boxes or masks for each image, got {brief(regions)}")
    if not isinstance(size, Sequence) or len(size) != 2:
        raise CAMError(f"size must be the height and width of the images, got {brief(size)}; pass images.shape[-2:]")
    maps = maps[:, None] if maps.ndim == 3 else maps
    if maps.ndim != 4 or maps.shape[1] != 1 or len(maps) != len(regions):
        raise CAMError(
            f"maps must be N×h×w or N×1×h×w with regions for each image, got {shape_of(maps)} and regions of "
            f"{len(regions)} images"
        )
    for i, given in enumerate(regions):
        _check_region(i, given, tuple(size))
    check_finite("maps", maps)
    return wide(maps.detach())


def _check_region(i: int, given: Tensor, size: tuple[int, ...]) -> None:
    check_tensor("regions[i]", given, "of boxes B×4 or masks B×H×W")
    if given.ndim == 3 and len(given) and given.shape[1:] == size:
        if bool(given.any()):
            return
        raise CAMError(f"masks must not be empty, got only zeros for image {i}; leave out images without the class")
    if given.ndim == 2 and given.shape[1] == 4 and len(given) and not bool((given[:, 2:] <= given[:, :2]).any()):
        return
    got = brief(given.tolist()) if given.shape == (1, 4) else shape_of(given)
    raise CAMError(
        f"regions must be boxes B×4 of (x0, y0, x1, y1) with x0 < x1 and y0 < y1, or masks B×{size[0]}×{size[1]}, "
        f"got {got} for image {i}; leave out images without a box of the class"
    )
