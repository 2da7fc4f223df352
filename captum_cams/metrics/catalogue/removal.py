"""Metrics that compare a map with what the model says after some pixels are removed."""

from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.catalogue.curves import deletion
from captum_cams.metrics.catalogue.masked import coherency, complexity
from captum_cams.metrics.entry import register_metric


@register_metric(higher_is_better=True)
def road(case: Case) -> Tensor:
    """How much more the probability falls without the most relevant than without the least relevant pixels, −½ to ½."""
    given = case.conditions
    return functional.road(*case.arguments, task=given.task, perturbations_per_eval=case.perturbations_per_eval)


@register_metric(higher_is_better=True, needs=["probabilities"])
def arcc(case: Case) -> Tensor:
    """The harmonic mean of coherency, simplicity and ROAD, 0 to 1."""
    return functional.arcc_of_parts(case.shared(coherency), case.shared(complexity), case.shared(road))


@register_metric(higher_is_better=True, unit="%", needs=["probabilities"])
def average_gain(case: Case) -> Tensor:
    """The share of the missing probability that is gained if only the explained part is shown, 0 to 100 %."""
    given = case.conditions
    return functional.average_gain(*case.arguments, masking=given.masking, task=given.task)


@register_metric(higher_is_better=True)
def single_deletion(case: Case) -> Tensor:
    """The rank correlation of patch sums of the map with the drops of the score without one patch, −1 to 1."""
    each = case.perturbations_per_eval
    return functional.single_deletion(*case.arguments, task=case.conditions.task, perturbations_per_eval=each)


@register_metric(higher_is_better=True, needs=["curves"])
def calibration(case: Case) -> Tensor:
    """The correlation of map values with the drops in the steps of the deletion curve, −1 to 1."""
    curve = case.shared(deletion)
    return functional.calibration_of_curve(curve, case.images, case.maps, preset=case.conditions.preset)
