"""Sanity checks: a map must depend on the weights of the model and on the class."""

from functools import partial

from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.entry import register_metric
from captum_cams.metrics.functional.adcc import Explain


@register_metric(higher_is_better=False)
def randomisation(case: Case) -> Tensor:
    """The rank correlation of the map with the maps of a model whose layers are re-initialised, −1 to 1.

    It rewards maps that depend on what the network has learned. It does not ask whether the map is right: noise that
    changes with the weights is nearly the best map, and maps that all show the edges of the image stay similar.
    """
    return functional.randomisation(*case.arguments, explain=_explain(case), task=case.conditions.task)


@register_metric(higher_is_better=False)
def random_logit(case: Case) -> Tensor:
    """The rank correlation of the map with the map of another class, −1 to 1.

    It rewards maps that depend on the class. Noise that changes with the class would be nearly the best, and for two
    classes that share an object a good map may stay the same.
    """
    return functional.random_logit(*case.arguments, explain=_explain(case), task=case.conditions.task)


def _explain(case: Case) -> Explain:
    """The explainer without its task, which a case may write otherwise: a function there, a name here."""
    return partial(case.explain)
