"""Metrics of the part of an image that a map shows."""

from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.entry import register_metric


def _drop_and_increase(case: Case) -> tuple[Tensor, Tensor]:
    given = case.conditions
    return functional.drop_and_increase(*case.arguments, masking=given.masking, task=given.task)


@register_metric(higher_is_better=False, unit="%", needs=["probabilities"])
def average_drop(case: Case) -> Tensor:
    """The share of the probability that is lost if only the explained part is shown, 0 to 100 %.

    It rewards maps that leave the class visible. A map that is bright nearly everywhere changes the image little and
    has hardly any drop, whatever it explains; never read it alone.
    """
    return case.shared(_drop_and_increase)[0]


@register_metric(higher_is_better=True, unit="%", needs=["probabilities"])
def average_increase(case: Case) -> Tensor:
    """100 % if the explained part alone has a higher probability, else 0.

    It rewards maps that hide what speaks against the class. As for the average drop, maps that are bright nearly
    everywhere gain, and a change of the tiniest size counts like a large one.
    """
    return case.shared(_drop_and_increase)[1]


@register_metric(higher_is_better=True, needs=["probabilities"])
def adcc(case: Case) -> Tensor:
    """The harmonic mean of coherency, simplicity and kept probability, 0 to 1.

    It rewards small maps that stay the same for the explained part and keep the class visible, all three at once. A map
    that ignores the image, such as a bright spot in its middle, has the best coherency and a good simplicity; only the
    drop tells it apart.
    """
    drop = functional.average_drop(*case.arguments, task=case.conditions.task) / 100
    return functional.adcc_of_parts(case.shared(coherency), case.shared(complexity), drop)


@register_metric(higher_is_better=True)
def coherency(case: Case) -> Tensor:
    """The similarity of the map to the map of the explained part alone, 0 to 1.

    It rewards maps that do not change when the image is multiplied by them. A map that is the same for every image has
    the highest value.
    """
    return functional.coherency(case.images, case.maps, case.explain, case.classes)


@register_metric(higher_is_better=False)
def complexity(case: Case) -> Tensor:
    """The mean of the scaled map, 0 to 1.

    It rewards maps that mark little. One bright pixel anywhere is nearly the best map; use it only next to a metric of
    faithfulness.
    """
    return functional.complexity(case.images, case.maps)
