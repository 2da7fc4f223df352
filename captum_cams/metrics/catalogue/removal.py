"""Metrics that compare a map with what the model says after some pixels are removed."""

from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.catalogue.curves import deletion
from captum_cams.metrics.catalogue.masked import coherency, complexity
from captum_cams.metrics.entry import register_metric


@register_metric(higher_is_better=True)
def road(case: Case) -> Tensor:
    """How much more the probability falls without the most relevant than without the least relevant pixels, −½ to ½.

    It rewards maps that put the pixels in the right order at both ends. Interpolated pixels show less of the shape of
    the mask than black ones do, so scattered maps gain less than in deletion. How large the values of the map are, and
    how fine it is within a fifth of the pixels, does not count.
    """
    given = case.conditions
    return functional.road(*case.arguments, task=given.task, perturbations_per_eval=case.perturbations_per_eval)


@register_metric(higher_is_better=True, needs=["probabilities"])
def arcc(case: Case) -> Tensor:
    """The harmonic mean of coherency, simplicity and ROAD, 0 to 1.

    It rewards what ADCC rewards, but maps that are bright nearly everywhere gain nothing, because ROAD reads only the
    order of the pixels. The coherency is still best for a map that ignores the image.
    """
    return functional.arcc_of_parts(case.shared(coherency), case.shared(complexity), case.shared(road))


@register_metric(higher_is_better=True, unit="%", needs=["probabilities"])
def average_gain(case: Case) -> Tensor:
    """The share of the missing probability that is gained if only the explained part is shown, 0 to 100 %.

    It rewards maps that make the network surer. Where the network is already sure, nothing can be gained, so images
    with a low probability decide about the mean; a map that hides another object gains without showing the class.
    """
    given = case.conditions
    return functional.average_gain(*case.arguments, masking=given.masking, task=given.task)


@register_metric(higher_is_better=True)
def single_deletion(case: Case) -> Tensor:
    """The rank correlation of patch sums of the map with the drops of the score without one patch, −1 to 1.

    It rewards maps that know what each patch alone is worth. A map of occlusions of the same patches is the best by
    construction, and where two patches show the same evidence, neither is worth anything alone.
    """
    each = case.perturbations_per_eval
    return functional.single_deletion(*case.arguments, task=case.conditions.task, perturbations_per_eval=each)


@register_metric(higher_is_better=True, needs=["curves"])
def calibration(case: Case) -> Tensor:
    """The correlation of map values with the drops in the steps of the deletion curve, −1 to 1.

    It rewards maps whose values are in proportion to what the pixels are worth. The map itself chooses the steps that
    are compared, so a map in a bad order can still be well calibrated; read the area of the curve next to it.
    """
    curve = case.shared(deletion)
    return functional.calibration_of_curve(curve, case.images, case.maps, preset=case.conditions.preset)
