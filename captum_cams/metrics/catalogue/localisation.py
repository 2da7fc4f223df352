"""Metrics that compare maps with annotated boxes or masks."""

import torch
from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.entry import register_metric
from captum_cams.metrics.functional.localisation import LEVELS, Threshold


def _overlap(case: Case, threshold: Threshold = "value") -> Tensor:
    return functional.region_overlap(case.maps, case.regions, case.size, threshold=threshold)


@register_metric(higher_is_better=True, needs=["regions"])
def pointing_game(case: Case) -> Tensor:
    """1 if the maximum of the map lies in a region, else 0.

    It rewards maps whose maximum lies on the object, and reads nothing but this one pixel. Objects are often large and
    in the middle, where the baseline Centre hits them too; compare with it.
    """
    return functional.pointing_game(case.maps, case.regions, case.size, margin=case.conditions.margin).float()


@register_metric(higher_is_better=True, needs=["regions"])
def pointing_game_difficult(case: Case) -> Tensor:
    """The pointing game for images with small regions and several classes; NaN for the other images.

    It rewards maps that find small objects next to objects of other classes, where a guess in the middle rarely hits.
    It still reads one pixel of the map.
    """
    alone = [len(known.classes) < 2 for known in case.annotations]
    pairs = zip(case.regions, alone, strict=True)
    hard = [functional.is_difficult(regions, case.size, other_classes=not single) for regions, single in pairs]
    return case.shared(pointing_game).where(torch.tensor(hard), torch.nan)


@register_metric(higher_is_better=True, needs=["regions"])
def energy(case: Case) -> Tensor:
    """The share of the map inside the regions, 0 to 1.

    It rewards maps that lie on the object. One bright pixel inside is enough for the best value, and a map that truly
    shows that the network looks at the background has a low one; the regions say where people see the class.
    """
    return functional.energy_inside(case.maps, case.regions, case.size)


@register_metric(higher_is_better=True, needs=["regions"])
def relevance_mass(case: Case) -> Tensor:
    """The share of the positive values of the map inside the regions, 0 to 1.

    It rewards maps whose positive values lie on the object, like energy, but a constant above zero counts as well. A
    map of one pixel inside the regions is perfect here, too.
    """
    return functional.relevance_mass(case.maps, case.regions, case.size)


@register_metric(higher_is_better=True, needs=["regions"])
def relevance_rank(case: Case) -> Tensor:
    """The share of the highest pixels, as many as the regions have, inside the regions, 0 to 1.

    It rewards maps that fill the object and do not reach beyond it. A segmentation of the object that never looked at
    the network would be perfect.
    """
    return functional.relevance_rank(case.maps, case.regions, case.size)


@register_metric(higher_is_better=True, needs=["regions"])
def top_k_intersection(case: Case) -> Tensor:
    """The share of the highest 2 % of the pixels inside the regions, 0 to 1.

    It rewards maps whose peaks lie on the object. The other 98 % of the map may lie anywhere.
    """
    return functional.top_k_intersection(case.maps, case.regions, case.size)


@register_metric(higher_is_better=True, needs=["regions"], levels=LEVELS)
def iou(case: Case) -> Tensor:
    """The overlap of the regions with the pixels that reach each level, 0 to 1.

    It rewards maps that have the extent of the object at one threshold for all images. This threshold is chosen on the
    measured images, so the value is a little too good, and a smooth map fits a box better than an exact one.
    """
    return case.shared(_overlap)


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_value(case: Case) -> Tensor:
    """1 if the overlap is below ½, with a fixed value as threshold, else 0.

    It rewards maps that have the extent of the object where they reach a share of their maximum. One very bright pixel
    spoils a good map, because it moves this threshold, and the best level is chosen on the measured images.
    """
    return (case.shared(_overlap) < 0.5).float()


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_mean(case: Case) -> Tensor:
    """1 if the overlap is below ½, with a multiple of the mean of the map as threshold, else 0.

    It rewards maps that have the extent of the object where they lie above their mean, so a single bright pixel matters
    less. Whether the network used the object is not asked.
    """
    return (_overlap(case, "mean") < 0.5).float()


@register_metric(higher_is_better=False, needs=["regions"], levels=LEVELS)
def localisation_error_energy(case: Case) -> Tensor:
    """1 if the overlap is below ½, for the highest pixels that together have a share of the map, else 0.

    It rewards maps whose brightest part has the extent of the object. It asks for the size of the object, and a network
    that decides by a small part of it is explained rightly by a map that fails here.
    """
    return (_overlap(case, "energy") < 0.5).float()
