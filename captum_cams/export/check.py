"""Compare an exported module with the model and the method that it was made from."""

import torch
from torch import Tensor, nn

from captum_cams.bases.attribution import CAMAttribution
from captum_cams.engine.outputs import read_scores
from captum_cams.engine.untouched import untouched
from captum_cams.errors import CAMError
from captum_cams.export.forms import Scaled
from captum_cams.export.module import ScoresAndMap

_TOLERANCE = 1e-4  # of the largest value
_MOST = 1e-2  # of a scaled map; a map that rounding moves further says nothing
_STEPS = 32  # of ε: how far two orders of the same sums move a score, measured on a ViT-B/16: 9


@torch.no_grad()
def check(
    module: ScoresAndMap, network: nn.Module, explainer: CAMAttribution, images: Tensor, target: int | None
) -> None:
    """Raise unless the module gives the scores of the model and the map of the method.

    Args:
        module: the exported module.
        network: the model.
        explainer: the method on the model.
        images: N×C×H×W.
        target: the explained class; None is the one with the highest score.

    Raises:
        CAMError: scores or map differ by more than rounding can explain.
    """
    scores, maps, rounding = results(module, images)
    with untouched(network):
        expected = read_scores(network(images.clone()))
    _compare("scores", scores, expected, torch.zeros(()))
    _compare("map", maps, module.resize(explainer.attribute(images, target)), rounding)


@torch.no_grad()
def results(module: ScoresAndMap, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the scores and the map of a module, and how far rounding may move the map: N×classes, N×1×h×w, N×1×1×1."""
    scores, before = module.before_last_step(images)
    scaled = isinstance(module.last_step, Scaled)
    rounding = rounding_of_scaled(before) if scaled else torch.zeros(len(before), 1, 1, 1)
    return scores, module.resize(module.last_step(before)), rounding


def within(found: Tensor, expected: Tensor, rounding: Tensor) -> bool:
    """Tell whether two results differ by no more than rounding explains, and by at most a hundredth.

    Args:
        found: the scores or the maps that are judged.
        expected: the scores or the maps that are right.
        rounding: how far rounding may move a map; zero for scores.
    """
    allowed = (_TOLERANCE * float(expected.abs().max()) + 1e-6) * torch.ones_like(rounding)
    return bool(((found - expected).abs() <= torch.maximum(allowed, rounding.clamp(max=_MOST))).all())


def rounding_of_scaled(maps: Tensor) -> Tensor:
    """How far rounding may move each map N×1×h×w after it is scaled to [0, 1]; N×1×1×1.

    A value is exact to some ε of its magnitude. The scaling divides by the distance of the largest and the smallest
    value, so the error grows to ε·max|values| / (max − min).
    """
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    error = _STEPS * torch.finfo(maps.dtype).eps * torch.maximum(low.abs(), high.abs())
    return torch.where(high > low, error / (high - low), 0)


def _compare(what: str, found: Tensor, expected: Tensor, rounding: Tensor) -> None:
    if within(found, expected, rounding):
        return
    reason = (
        "the model may use state or random numbers, or the first two components of Eigen-CAM may be equally strong: "
        "choose another layer or method"
    )
    if float(rounding.max()) > _MOST:
        reason = (
            f"the scores of the windows differ so little that rounding moves the map by up to {rounding.max():.1e}: "
            "export model.double() with float64 images, or choose another layer or method"
        )
    raise CAMError(
        f"the exported {what} must equal the {what} in PyTorch, got a difference of "
        f"{float((found - expected).abs().max()):.1e}; " + reason
    )
