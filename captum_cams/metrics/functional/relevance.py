"""Relevance mass, relevance rank and top-k intersection as pure functions: do the important pixels lie in the regions?

Unlike the metrics of :mod:`captum_cams.metrics.functional.localisation`, they do not scale the maps to [0, 1]: mass
reads positive values as they are, and the two others read only the order of the pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_cams.errors import CAMError, check_at_least
from captum_cams.images import upsample
from captum_cams.metrics.functional.localisation import check_regions, region_mask

_SHARE = 1000 / 224**2
"""The share of the pixels that top-k intersection takes unless k is given: 1,000 pixels of an image 224×224."""


def relevance_mass(maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Compute the share of the positive values of the map that lies inside the regions.

    Arras et al., "CLEVR-XAI", Information Fusion 2022: relevance mass accuracy. Relevance there is not negative; here
    negative values of a map, which speak against the class, count as zero (the authors' code takes absolute values).
    :func:`energy_inside` first subtracts the minimum of the map. Both are the same for a map whose minimum is zero, as
    after a ReLU. If the minimum is above zero, relevance mass counts this constant part of the map as well, and if
    it is below zero, energy counts pixels that speak against the class.

    Args:
        maps: explanations, N×h×w or N×1×h×w; resized to the size of the images with linear interpolation.
        regions: for each image, boxes B×4 or masks B×H×W of the explained class, as for :func:`pointing_game`.
        size: height and width of the images, the length of signals, or depth, height and width of volumes.

    Returns:
        N values, 0 to 1, higher is better; 0 for a map without positive values.

    Raises:
        CAMError: shapes do not fit, an image has no region or an empty region, or the maps contain NaN or Inf.

    Example::

        boxes = [torch.tensor([[8, 8, 40, 40]]), torch.tensor([[0, 0, 20, 30]])]
        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.relevance_mass(maps, boxes, images.shape[-2:]))
    """
    values, inside = _pixels(maps, regions, size)
    positive = values.clamp(min=0).double()
    whole = positive.sum(1)
    return ((positive * inside).sum(1) / whole.where(whole > 0, 1)).float()


def relevance_rank(maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Compute the share of the K highest pixels that lie in the regions, which have K pixels.

    Arras et al., "CLEVR-XAI", Information Fusion 2022: relevance rank accuracy. If several pixels have the value at
    which the K highest pixels end, each of them counts with the same weight, as if they were drawn at random. A
    constant map therefore has the share of the image that the regions cover.

    Args:
        maps: explanations, as for :func:`relevance_mass`.
        regions: boxes or masks of the explained class, for each image.
        size: height and width of the images.

    Returns:
        N values, 0 to 1, higher is better; 0 if no pixel of the image lies in the regions.

    Raises:
        CAMError: in the same cases as :func:`relevance_mass`.

    Example::

        masks = [torch.ones(1, 64, 64), torch.ones(1, 64, 64)]  # the whole image
        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.relevance_rank(maps, masks, images.shape[-2:]))  # tensor([1., 1.])
    """
    values, inside = _pixels(maps, regions, size)
    return _share_of_highest(values, inside, inside.sum(1).clamp(min=1).tolist())


def top_k_intersection(maps: Tensor, regions: Sequence[Tensor], size: Sequence[int], *, k: int | None = None) -> Tensor:
    """Compute the share of the k highest pixels that lie in the regions.

    Theiner et al., "Interpretable Semantic Photo Geolocation", WACV 2022. Pixels with equal values count as for
    :func:`relevance_rank`.

    Args:
        maps: explanations, as for :func:`relevance_mass`.
        regions: boxes or masks of the explained class, for each image.
        size: height and width of the images.
        k: how many of the highest pixels are taken. None takes 1,000 pixels of an image 224×224, as Quantus does, and
            the same share (2 %) of images of other sizes, at least one pixel.

    Returns:
        N values, 0 to 1, higher is better.

    Raises:
        CAMError: k is not an integer from 1 to the number of pixels, or in the same cases as :func:`relevance_mass`.

    Example::

        boxes = [torch.tensor([[8, 8, 40, 40]]), torch.tensor([[0, 0, 20, 30]])]
        maps = cc.GradCAM(model).attribute(images, labels)
        print(metrics.top_k_intersection(maps, boxes, images.shape[-2:], k=100))
    """
    values, inside = _pixels(maps, regions, size)
    total = values.shape[1]
    if k is None:
        k = max(1, round(_SHARE * total))
    check_at_least("k", k, 1)
    if k > total:
        raise CAMError(f"k must be at most the number of pixels of an image, {total}, got {k}; leave k out for 2 %")
    return _share_of_highest(values, inside, [k] * len(values))


def _pixels(maps: Tensor, regions: Sequence[Tensor], size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The pixels of the resized maps, and whether each lies in the regions, N×pixels each."""
    values = upsample(check_regions(maps, regions, size), size).flatten(1)
    inside = torch.stack([region_mask(given, size) for given in regions]).flatten(1)
    return values, inside.to(values.device)


def _share_of_highest(values: Tensor, inside: Tensor, counts: Sequence[int]) -> Tensor:
    """How much of the highest pixels of each map lies inside; pixels that tie for the last places share them."""
    found = []
    for each, within, count in zip(values, inside, counts, strict=True):
        least = each.topk(count).values[-1]
        above, tied = each > least, each == least
        places = count - above.sum()
        found.append(((above & within).sum() + places * (tied & within).sum() / tied.sum()) / count)
    return torch.stack(found).float()
