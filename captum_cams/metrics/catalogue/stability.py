"""Metrics of what small and large changes of the image do to the map and to the score."""

from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.entry import register_metric


@register_metric(higher_is_better=False)
def sensitivity(case: Case) -> Tensor:
    """The largest relative change of the map under noise of 2 % of the range of the image, 0 or greater.

    It rewards maps that small noise does not change. A map that ignores the image has the best value, 0.
    """
    given = case.images, case.maps, case.explain, case.classes
    return functional.sensitivity(*given, perturbations_per_eval=case.perturbations_per_eval)


@register_metric(higher_is_better=False)
def infidelity(case: Case) -> Tensor:
    """The squared error of the score changes that the map tells for replaced boxes, 0 or greater.

    It rewards maps whose sum in a box tells how much the score falls without it. The scale is fitted, so a map and its
    negative have the same value; boxes have at least an eighth of each side, so detail finer than that does not count.
    """
    given, at_once = case.conditions, case.perturbations_per_eval
    return functional.infidelity(*case.arguments, preset=given.preset, task=given.task, perturbations_per_eval=at_once)
