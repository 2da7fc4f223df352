"""Metrics of the map itself, without annotations and without further runs of the model."""

import torch
from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.entry import register_metric
from captum_cams.metrics.functional.consistency import PIXELS, class_overlap, thumbnails


@register_metric(higher_is_better=True)
def sparseness(case: Case) -> Tensor:
    """The Gini index of the absolute values of the map, 0 to 1.

    It rewards maps that concentrate on few pixels. A map raised to a power above 1 is sparser, and one bright pixel
    anywhere is nearly the best.
    """
    return functional.sparseness(case.images, case.maps)


@register_metric(higher_is_better=False)
def entropy(case: Case) -> Tensor:
    """The entropy of the shares of the pixels, from 0 to the logarithm of their number, in nats.

    It rewards maps that concentrate on few pixels, wherever these lie. A power above 1 lowers the entropy of a map and
    explains nothing more.
    """
    return functional.entropy(case.images, case.maps)


@register_metric(higher_is_better=True, size=PIXELS, over_rows=class_overlap, dtype=torch.uint8)
def consistency(case: Case) -> Tensor:
    """The mean soft intersection over union with the other maps of the class, 0 to 1; NaN without other maps.

    It rewards maps that look alike for all images of a class. Methods that ignore the image reach 1, so compare it only
    for one method, over a training.
    """
    return thumbnails(case.maps)
