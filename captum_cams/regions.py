"""Cut masks and boxes from maps."""

from collections.abc import Sequence
from typing import Literal

import torch
from scipy import ndimage
from torch import Tensor

from captum_cams.argument_names import names_checked
from captum_cams.errors import CAMError, check_at_least, check_choice, check_finite, check_tensor, shape_of
from captum_cams.images import heat

Cut = Literal["otsu", "value", "energy"]
"""Which pixels of a map, scaled to [0, 1], are marked.

- "otsu": those above the threshold that separates the values best, with the largest variance between both sides.
- "value": those of at least the level, which is a share of the maximum.
- "energy": the highest ones, at least one, that together have the level's share of the sum of the map.
"""


_FOREIGN = {"method": "here it is called threshold", "image_size": "here it is called size"}


@names_checked(_FOREIGN)
def mask_from_map(
    maps: Tensor, size: Sequence[int] | None = None, *, threshold: Cut = "otsu", level: float = 0.5
) -> Tensor:
    """Mark the pixels where a map is high.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979, for "otsu", over the values themselves
    instead of a histogram. A constant map marks nothing.

    Args:
        maps: N×1×h×w or N×h×w; or with other axes, as the maps of signals and volumes N×1×… have.
        size: size of the images, to which the maps are resized first; None keeps the size of the maps.
        threshold: see :data:`Cut`.
        level: above 0 and up to 1, for "value" and "energy".

    Returns:
        N×H×W booleans on the CPU.

    Raises:
        CAMError: the maps have another shape or contain NaN or Inf, the threshold is unknown, or the level is not
            above 0 and up to 1.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        masks = cc.mask_from_map(maps, images.shape[-2:])  # 2×64×64
        print(masks.float().mean((1, 2)))  # the share of each image that is marked
    """
    check_choice("threshold", threshold, Cut)
    if not 0 < level <= 1:
        raise CAMError(f"level must be above 0 and up to 1, got {level}")
    check_tensor("maps", maps, "N×1×h×w")
    maps = maps[:, None] if maps.ndim == 3 and (size is None or len(size) == 2) else maps
    if maps.ndim < 3 or maps.shape[1] != 1:
        raise CAMError(f"maps must be N×1×h×w or N×h×w, got {shape_of(maps)}; pass the maps of attribute or heatmap")
    check_finite("the maps", maps)
    scaled = heat(maps.detach().float(), tuple(size or maps.shape[2:]))[:, 0].cpu()
    return torch.stack([_marked(one, threshold, level) if one.any() else one.bool() for one in scaled])


@names_checked(_FOREIGN)
def boxes_from_map(
    maps: Tensor,
    size: Sequence[int] | None = None,
    *,
    threshold: Cut = "otsu",
    level: float = 0.5,
    least_pixels: int = 1,
) -> list[Tensor]:
    """Draw a box around each connected part of the pixels where a map is high.

    Pixels are connected if they share an edge. A box is half-open, as slices are: ``image[:, y0:y1, x0:x1]``.

    Args:
        maps: N×1×h×w or N×h×w.
        size: as in :func:`mask_from_map`.
        threshold: as in :func:`mask_from_map`.
        level: as in :func:`mask_from_map`.
        least_pixels: parts with fewer pixels get no box.

    Returns:
        For each image a tensor B×4 of whole numbers (x0, y0, x1, y1), the part with the most pixels first; B may be 0.

    Raises:
        CAMError: in the same cases as :func:`mask_from_map`, the maps are not of images, or ``least_pixels`` is
            below 1.

    Example::

        maps = cc.GradCAM(model).attribute(images, labels)
        for boxes in cc.boxes_from_map(maps, images.shape[-2:], threshold="value", level=0.2):
            print(boxes[:1].tolist())  # the largest part
    """
    check_at_least("least_pixels", least_pixels, 1)
    masks = mask_from_map(maps, size, threshold=threshold, level=level)
    if masks.ndim != 3:
        raise CAMError(f"boxes need the maps of images, N×1×h×w, got {shape_of(maps)}; use mask_from_map")
    return [_boxes(mask, least_pixels) for mask in masks]


def highest(scaled: Tensor, share: float) -> Tensor:
    """Mark the highest pixels, at least one, that together have a share of the sum of a map.

    Args:
        scaled: a map, 0 or greater.
        share: 0 to 1.

    Returns:
        Booleans with the shape of the map.
    """
    order = scaled.flatten().argsort(descending=True, stable=True)
    running = scaled.flatten()[order].double().cumsum(0)
    count = int((running < share * running[-1]).sum()) + 1
    marked = torch.zeros(scaled.numel(), dtype=torch.bool)
    marked[order[:count]] = True
    return marked.view_as(scaled)


def _marked(scaled: Tensor, threshold: Cut, level: float) -> Tensor:
    if threshold == "energy":
        return highest(scaled, level)
    return scaled >= (_otsu(scaled) if threshold == "otsu" else level)


def _otsu(values: Tensor) -> float:
    """The lowest value of the upper side, where the variance between both sides is largest."""
    found, counts = values.double().unique(return_counts=True)
    below, sums = counts.cumsum(0), (found * counts).cumsum(0)
    above, rest = below[-1] - below, sums[-1] - sums
    between = (below * above * (sums / below - rest / above.clamp(min=1)).square())[:-1]
    return float(found[int(between.argmax()) + 1])


def _boxes(mask: Tensor, least_pixels: int) -> Tensor:
    labels, count = ndimage.label(mask.numpy())
    sizes = ndimage.sum_labels(mask.numpy(), labels, range(1, count + 1)) if count else []
    parts = [
        (-int(size), columns.start, rows.start, columns.stop, rows.stop)
        for size, (rows, columns) in zip(sizes, ndimage.find_objects(labels), strict=True)
        if size >= least_pixels
    ]
    return torch.tensor([box for _, *box in sorted(parts, key=lambda part: part[0])], dtype=torch.long).reshape(-1, 4)
