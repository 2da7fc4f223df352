"""Localisation as pure functions: does a map mark the regions where the class was annotated?"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from scipy import ndimage
from torch import Tensor
from torchvision.ops import box_iou

from captum_cams.engine.targets import wide
from captum_cams.errors import CAMError, brief, check_choice, check_finite, check_tensor, shape_of
from captum_cams.images import heat
from captum_cams.regions import highest

Threshold = Literal["value", "mean", "energy"]
"""How the marked part of a map is chosen; see :func:`region_overlap`."""
LEVELS = tuple(level / 20 for level in range(20))
"""The thresholds of Hartley et al.: 0, 0.05, …, 0.95."""


def pointing_game(maps: Tensor, regions: Sequence[Tensor], size: Sequence[int], *, margin: float = 0.0) -> Tensor:
    """Tell for which images the maximum of the map lies in a region of the class.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018, section 4.2, with a margin of 15
    pixels. If several pixels have the maximum, the first pixel counts, row by row. In a constant map that is the first
    pixel of the image.

    Args:
        maps: explanations, N×h×w or N×1×h×w; resized to the size of the images with bilinear interpolation.
        regions: for each image, the regions of the explained class: boxes B×4 of (x0, y0, x1, y1) in pixels, x0 < x1
            and y0 < y1, or masks B×H×W that are not zero on the object. Signals and volumes need masks, B×T or
            B×D×H×W, because a box lies in the plane.
        size: height and width of the images, the length of signals, or depth, height and width of volumes.
        margin: pixels around a region that still count as a hit.

    Returns:
        N booleans.

    Raises:
        CAMError: shapes do not fit, an image has no region or an empty region, or the maps contain NaN or Inf.

    Example::

        boxes = [torch.tensor([[8, 8, 40, 40]]), torch.tensor([[0, 0, 20, 30], [30, 30, 60, 60]])]
        maps = cc.GradCAM(model).attribute(images, labels)
        hits = metrics.pointing_game(maps, boxes, images.shape[-2:], margin=15)
        print(hits.float().mean())
    """
    peaks = heat(check_regions(maps, regions, size), size).flatten(1).argmax(1).tolist()
    points = torch.stack(torch.unravel_index(torch.tensor(peaks), tuple(size)), 1)
    hits = [_distance(given, point) <= margin for point, given in zip(points, regions, strict=True)]
    return torch.tensor(hits)


def energy_inside(maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Compute the share of the map, scaled to [0, 1], that lies inside the regions.

    Wang et al., "Score-CAM", CVPRW 2020, section 4.3, where it is called energy-based pointing game. Qiu et al. call it
    proportion. Parts of a box outside of the image do not count.

    Args:
        maps: explanations, N×h×w or N×1×h×w.
        regions: boxes B×4 or masks B×H×W of the explained class, for each image.
        size: height and width of the images.

    Returns:
        N values, 0 to 1, higher is better; 0 for a constant map.

    Raises:
        CAMError: shapes do not fit, an image has no region or an empty region, or the maps contain NaN or Inf.

    Example::

        masks = [torch.ones(1, 64, 64), torch.ones(1, 64, 64)]  # the whole image
        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.energy_inside(maps, masks, images.shape[-2:]))
    """
    scaled = heat(check_regions(maps, regions, size), size)[:, 0]
    inside = torch.stack([region_mask(given, size) for given in regions]).to(scaled)
    whole = scaled.flatten(1).sum(1)
    return ((scaled * inside).flatten(1).sum(1) / whole.where(whole > 0, 1)).float()


def region_overlap(
    maps: Tensor,
    regions: Sequence[Tensor],
    size: Sequence[int],
    *,
    threshold: Threshold = "value",
    levels: Sequence[float] = LEVELS,
) -> Tensor:
    """Compute how well the marked part of a map overlaps the regions, at several thresholds.

    Hartley et al., "Jitter-CAM", BMVC 2021, section 4.5. With boxes, the overlap is the intersection over union of the
    box around the largest connected part (four neighbours) and the best annotated box. With masks, it is the
    intersection over union of all marked pixels and all masks together. In a constant map, "value" marks all pixels
    at level 0 and no pixel at higher levels, "mean" marks all pixels, and "energy" marks the first pixel.

    Args:
        maps: explanations, N×h×w or N×1×h×w.
        regions: boxes B×4 or masks B×H×W of the explained class, for each image.
        size: height and width of the images.
        threshold: which pixels of the map, scaled to [0, 1], are marked. "value": values of at least the level. "mean":
            values of at least the level times the mean of the map. "energy": the highest pixels, at least one, that
            together have this share of the sum of the map.
        levels: the thresholds, 0 to 1.

    Returns:
        N×levels values, 0 to 1, higher is better.

    Raises:
        CAMError: in the same cases as :func:`pointing_game`, or ``threshold`` is unknown.

    Example::

        boxes = [torch.tensor([[8, 8, 40, 40]]), torch.tensor([[0, 0, 20, 30], [30, 30, 60, 60]])]
        maps = cc.GradCAM(model).attribute(images, labels)
        overlaps = metrics.region_overlap(maps, boxes, images.shape[-2:])  # 2×20
        print(metrics.localisation_error(overlaps))
    """
    check_choice("threshold", threshold, get_args(Threshold))
    scaled = heat(check_regions(maps, regions, size), size)[:, 0].cpu()
    return torch.stack(
        [
            _overlaps(torch.stack([_marked(map_, threshold, level) for level in levels]), given.cpu())
            for map_, given in zip(scaled, regions, strict=True)
        ]
    )


def localisation_error(overlaps: Tensor, least: float = 0.5) -> Tensor:
    """Compute the share of images with a small overlap, at the level where this share is lowest.

    Args:
        overlaps: N×levels, as :func:`region_overlap` returns it.
        least: overlaps below this value are errors.

    Returns:
        One number, 0 to 1, lower is better.

    Example::

        overlaps = torch.tensor([[0.6, 0.2], [0.5, 0.9]])
        print(metrics.localisation_error(overlaps))  # tensor(0.), at the first level
    """
    return (overlaps < least).float().mean(0).min()


def region_mask(regions: Tensor, size: Sequence[int]) -> Tensor:
    """Make a mask of the pixels of one image that belong to its regions.

    Args:
        regions: of one image, boxes B×4 or masks B×H×W.
        size: height and width of the image.

    Returns:
        H×W booleans, on the CPU.

    Raises:
        CAMError: these are neither boxes of an image nor masks of this size.

    Example::

        mask = metrics.region_mask(torch.tensor([[8, 8, 40, 40]]), (64, 64))
        print(mask.float().mean())  # tensor(0.2500)
    """
    _check_region(0, regions, tuple(size))
    if _are_masks(regions, size):
        return regions.cpu().bool().any(0)
    mask = torch.zeros(size, dtype=torch.bool)
    limit = torch.tensor([size[1], size[0]] * 2)
    for x0, y0, x1, y1 in regions.cpu().float().ceil().long().clamp(min=0).minimum(limit).tolist():
        mask[y0:y1, x0:x1] = True
    return mask


def is_difficult(regions: Tensor, size: Sequence[int], *, other_classes: bool) -> bool:
    """Tell whether an image belongs to the difficult subset of the pointing game.

    Zhang et al., IJCV 2018, section 4.2: the image shows other classes too, and the regions of the explained class
    cover less than a quarter of it.

    Args:
        regions: of the explained class, boxes B×4 or masks B×H×W.
        size: height and width of the image.
        other_classes: whether objects of other classes are annotated in the image.

    Returns:
        True for a difficult image.

    Example::

        small = torch.tensor([[8, 8, 24, 24]])
        print(metrics.is_difficult(small, (64, 64), other_classes=True))  # True
    """
    return other_classes and float(region_mask(regions, size).float().mean()) < 0.25


def _are_masks(regions: Tensor, size: Sequence[int]) -> bool:
    """Whether the regions of one image are masks B×H×W; boxes, B×4, lie in the plane."""
    return len(size) != 2 or regions.ndim == 3


def _distance(regions: Tensor, point: Tensor) -> float:
    """Pixels from a point, (y, x) in an image, to the nearest region."""
    if _are_masks(regions, point.tolist()):
        apart = (regions.cpu().bool().any(0).nonzero() - point).abs()
    else:
        y, x = point.tolist()
        x0, y0, x1, y1 = regions.cpu().float().ceil().T
        across, down = torch.maximum(x0 - x, x - x1 + 1), torch.maximum(y0 - y, y - y1 + 1)
        apart = torch.stack((across, down), 1).clamp(min=0)
    return float(apart.double().square().sum(1).min().sqrt())


def _marked(heat: Tensor, threshold: Threshold, level: float) -> Tensor:
    """The pixels of a scaled map that a threshold marks, H×W booleans."""
    if threshold == "value":
        return heat >= level
    if threshold == "mean":
        return heat >= level * heat.mean()
    return highest(heat, level)


def _part(marked: Tensor) -> tuple[int, int, int, int]:
    """The box (x0, y0, x1, y1) around the largest connected part; (0, 0, 0, 0) if no pixel is marked."""
    if not marked.any():
        return 0, 0, 0, 0
    labels, _ = ndimage.label(marked.numpy())
    sizes = ndimage.sum_labels(marked.numpy(), labels, range(1, labels.max() + 1))
    rows, columns = ndimage.find_objects(labels)[int(sizes.argmax())]
    return columns.start, rows.start, columns.stop, rows.stop


def _overlaps(marked: Tensor, regions: Tensor) -> Tensor:
    """Intersection over union of the marked pixels of each level, L×H×W, and the regions of one image: L values."""
    if _are_masks(regions, marked.shape[1:]):
        mask = regions.bool().any(0)
        return (marked & mask).flatten(1).sum(1) / (marked | mask).flatten(1).sum(1)
    parts = torch.tensor([_part(pixels) for pixels in marked], dtype=torch.float64)
    return box_iou(parts, regions.double()).amax(1).float()


def check_regions(maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """The maps as N×1×h×w, or an error if maps, regions and size do not fit."""
    check_tensor("maps", maps, "N×h×w or N×1×h×w")
    if not isinstance(regions, Sequence | Tensor):
        raise CAMError(f"regions must be a list with a tensor of boxes or masks for each image, got {brief(regions)}")
    if not isinstance(size, Sequence) or len(size) not in (1, 2, 3):
        raise CAMError(f"size must be the height and width of the images, got {brief(size)}; pass images.shape[2:]")
    maps = maps[:, None] if maps.ndim == len(size) + 1 else maps
    if maps.ndim != len(size) + 2 or maps.shape[1] != 1 or len(maps) != len(regions):
        inner = {1: "t", 3: "d×h×w"}.get(len(size), "h×w")
        raise CAMError(
            f"maps must be N×{inner} or N×1×{inner} with regions for each of the N images, got {shape_of(maps)} and "
            f"regions of {len(regions)} images; pass a list with one tensor of regions for each map"
        )
    for i, given in enumerate(regions):
        _check_region(i, given, tuple(size))
    check_finite("maps", maps)
    return wide(maps.detach())


def _check_region(i: int, given: Tensor, size: tuple[int, ...]) -> None:
    """Raise unless these are boxes or masks of image ``i``."""
    check_tensor("regions[i]", given, "of boxes B×4 or masks B×H×W")
    if _are_masks(given, size) and len(given) and given.shape[1:] == size:
        if bool(given.any()):
            return
        raise CAMError(
            f"masks must not be empty, got only zeros for image {i}; leave out images that do not show the class"
        )
    if len(size) != 2:
        raise CAMError(
            f"regions of signals and volumes must be masks B×{'×'.join(map(str, size))}, because boxes lie in the "
            f"plane, got {shape_of(given)} for image {i}; draw each box into a mask of zeros and ones"
        )
    if given.ndim == 2 and given.shape[1] == 4 and len(given) and not bool((given[:, 2:] <= given[:, :2]).any()):
        return
    got = f"the box {brief(given[0].tolist())}" if given.shape == (1, 4) else shape_of(given)
    raise CAMError(
        f"regions must be boxes B×4 of (x0, y0, x1, y1) with x0 < x1 and y0 < y1, or masks B×{size[0]}×{size[1]}, "
        f"got {got} for image {i}; leave out images without a box of the class"
    )
