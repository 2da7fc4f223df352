"""Metrics of the deletion and insertion curves."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_cams.metrics import functional
from captum_cams.metrics.case import Case
from captum_cams.metrics.entry import register_metric
from captum_cams.metrics.presets import find_preset


def deletion(case: Case) -> Tensor:
    """The deletion curve of each pair, P×(steps + 1)."""
    return functional.deletion_curve(*case.arguments, **_of_curves(case))


def insertion(case: Case) -> Tensor:
    """The insertion curve of each pair, P×(steps + 1)."""
    return functional.insertion_curve(*case.arguments, **_of_curves(case))


def _of_curves(case: Case) -> dict[str, Any]:
    given = case.conditions
    return {"preset": given.preset, "task": given.task, "perturbations_per_eval": case.perturbations_per_eval}


def curves(case: Case) -> Tensor:
    """Deletion and insertion curve of each pair, P×2×(steps + 1), resampled to the number of steps of the preset."""
    both = torch.stack((case.shared(deletion), case.shared(insertion)), 1)
    return F.interpolate(both, find_preset(case.conditions.preset).steps + 1, mode="linear", align_corners=True)


@register_metric(higher_is_better=False, needs=["curves"])
def deletion_auc(case: Case) -> Tensor:
    """The area under the deletion curve, 0 to 1.

    It rewards maps whose highest pixels are those that the network cannot do without. It reads only the order of the
    pixels. An image with removed pixels is unlike the images of the training, so the probability may also fall because
    the pixels are scattered; read it together with insertion, and compare several replacements.
    """
    return functional.curve_area(case.shared(deletion))


@register_metric(higher_is_better=True, needs=["curves"])
def insertion_auc(case: Case) -> Tensor:
    """The area under the insertion curve, 0 to 1.

    It rewards maps whose highest pixels are enough for the network. Connected maps that cover the whole object gain,
    whether or not the network needs all of it, and where the steps start from a blurred image, a large object can
    already be seen in it.
    """
    return functional.curve_area(case.shared(insertion))


@register_metric(higher_is_better=True, needs=["curves"])
def over_all(case: Case) -> Tensor:
    """The insertion area minus the deletion area, −1 to 1.

    It rewards maps that are good at both curves. A gain on one of them can hide a loss on the other, so look at both.
    """
    return insertion_auc(case) - deletion_auc(case)
