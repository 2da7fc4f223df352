"""Localisation as pure functions on maps and boxes.

Shared by all of them:

Args:
    maps: the explanations, N×h×w or N×1×h×w, resized to the images' size with bilinear interpolation.
    boxes: for each image a tensor B×4 of (x0, y0, x1, y1) in its pixels, x0 ≤ x < x1; of the explained class. Parts
        outside of the image do not count for :func:`energy_inside`.
    size: height and width of the images.

Raises:
    CAMError: shapes do not fit, an image without a box, an empty box, or maps that hold NaN or Inf.
"""

from collections.abc import Sequence

import torch
from scipy import ndimage
from torch import Tensor

from captum_cams.errors import CAMError, check_choice, check_finite, shape_of
from captum_cams.heatmap import minmax, upsample

LEVELS = tuple(level / 20 for level in range(20))
"""0, 0.05, … 0.95: the thresholds of Hartley et al."""


def pointing_game(maps: Tensor, boxes: Sequence[Tensor], size: tuple[int, int], *, margin: float = 0.0) -> Tensor:
    """Whether the map's maximum lies in a box, or at most ``margin`` pixels from one: N booleans.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018, section 4.2, with a margin of 15
    pixels. Of equal maxima the first counts, row by row.
    """
    full = _full_size(maps, boxes, size)
    places = full.flatten(1).argmax(1).tolist()
    hits = []
    for place, given in zip(places, boxes, strict=True):
        y, x = divmod(place, size[1])
        x0, y0, x1, y1 = given.T.tolist()
        across = [max(left - x, 0, x - right + 1) for left, right in zip(x0, x1, strict=True)]
        down = [max(top - y, 0, y - bottom + 1) for top, bottom in zip(y0, y1, strict=True)]
        hits.append(any(dx**2 + dy**2 <= margin**2 for dx, dy in zip(across, down, strict=True)))
    return torch.tensor(hits)


def energy_inside(maps: Tensor, boxes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The share of the map, scaled to [0, 1], that lies in the boxes: N, 0 to 1, and 0 for a constant map.

    Wang et al., "Score-CAM", CVPRW 2020, section 4.3 (energy-based pointing game); Qiu et al. call it proportion.
    """
    heat = minmax(_full_size(maps, boxes, size))[:, 0]
    inside = torch.zeros_like(heat)
    for mask, given in zip(inside, boxes, strict=True):
        limit = torch.tensor([size[1], size[0]] * 2)
        for x0, y0, x1, y1 in given.cpu().round().long().clamp(min=0).minimum(limit).tolist():
            mask[y0:y1, x0:x1] = 1
    whole = heat.sum((1, 2))
    return (heat * inside).sum((1, 2)) / whole.where(whole > 0, 1)


def box_overlap(
    maps: Tensor,
    boxes: Sequence[Tensor],
    size: tuple[int, int],
    *,
    threshold: str = "value",
    levels: Sequence[float] = LEVELS,
) -> Tensor:
    """Intersection over union of the best box and the one around the map's largest part: N×levels, 0 to 1.

    Hartley et al., "Jitter-CAM", BMVC 2021, section 4.5. The map, scaled to [0, 1], is cut at each level:
    ``threshold="value"`` keeps what reaches the level, "mean" what reaches the level times the map's mean, "energy"
    the highest pixels that together hold this share of the map's sum, one at least. The largest part is the largest
    connected one, of four neighbours.
    """
    check_choice("threshold", threshold, ("value", "mean", "energy"))
    heat = minmax(_full_size(maps, boxes, size))[:, 0].cpu()
    return torch.stack(
        [
            torch.stack([_overlap(_part(_kept(one, threshold, level)), given.cpu()) for level in levels])
            for one, given in zip(heat, boxes, strict=True)
        ]
    )


def localisation_error(overlaps: Tensor, least: float = 0.5) -> Tensor:
    """The share of images whose overlap, N×levels, is below ``least``, at the best level: one number, 0 to 1."""
    return (overlaps < least).float().mean(0).min()


def _kept(heat: Tensor, threshold: str, level: float) -> Tensor:
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


def _overlap(box: tuple[int, int, int, int], boxes: Tensor) -> Tensor:
    x0, y0, x1, y1 = boxes.double().T
    across = (x1.clamp(max=box[2]) - x0.clamp(min=box[0])).clamp(min=0)
    down = (y1.clamp(max=box[3]) - y0.clamp(min=box[1])).clamp(min=0)
    shared = across * down
    union = (x1 - x0) * (y1 - y0) + (box[2] - box[0]) * (box[3] - box[1]) - shared
    return (shared / union).max().float()


def _full_size(maps: Tensor, boxes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    maps = maps[:, None] if maps.ndim == 3 else maps
    if maps.ndim != 4 or maps.shape[1] != 1 or len(maps) != len(boxes):
        raise CAMError(
            f"maps must be N×h×w or N×1×h×w with boxes for each image, got {shape_of(maps)} and boxes of "
            f"{len(boxes)} images"
        )
    for i, given in enumerate(boxes):
        fits = given.ndim == 2 and given.shape[1] == 4 and len(given)
        if not fits or bool((given[:, 2:] <= given[:, :2]).any()):
            raise CAMError(
                f"boxes must be B×4 of (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {given.tolist()} for image {i}; "
                "leave out images without a box of the class"
            )
    check_finite("maps", maps)
    return upsample(maps.detach().float(), size)
